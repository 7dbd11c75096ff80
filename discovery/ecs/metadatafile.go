package ecs

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// fileDoc is what is used of the container metadata file.
type fileDoc struct {
	ContainerInstanceARN   string
	HostPrivateIPv4Address string
	HostIPv6Address        string
	MetadataFileStatus     string
	PortMappings           []struct {
		ContainerPort, HostPort int
		BindIP                  string `json:"BindIp"`
		Protocol                string
	}
}

func (d fileDoc) bindings() []binding {
	var bindings []binding
	for _, m := range d.PortMappings {
		bindings = append(bindings, binding{hostIP: m.BindIP, container: m.ContainerPort, host: m.HostPort, protocol: strings.ToLower(m.Protocol)})
	}
	return bindings
}

// metadataFile reads the container metadata file. It is optional, and on
// Fargate there is none; without it, or before the agent has completed it, the
// result is empty.
func (p *Provider) metadataFile() fileDoc {
	name := p.env(envMetadataFile)
	if name == "" {
		return fileDoc{}
	}
	data, err := readRegular(name)
	var doc fileDoc
	if err == nil {
		err = json.Unmarshal(data, &doc)
	}
	if err != nil || doc.MetadataFileStatus != "READY" {
		p.cfg.Logger.Debug("container metadata file not used", "file", name, "status", doc.MetadataFileStatus, "err", err)
		return fileDoc{}
	}
	return doc
}

// readRegular reads a regular file of at most metadataMax bytes. Opening
// another kind, a pipe say, could wait for ever.
func readRegular(name string) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("not a regular file")
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // was only read
	data, err := io.ReadAll(io.LimitReader(f, metadataMax+1))
	if err == nil && len(data) > metadataMax {
		err = fmt.Errorf("larger than %d bytes", metadataMax)
	}
	return data, err
}
