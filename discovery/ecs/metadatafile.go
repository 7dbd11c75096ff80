package ecs

import (
	"encoding/json"
	"os"
)

// fileDoc is what is used of the container metadata file.
type fileDoc struct {
	ContainerInstanceARN   string
	HostPrivateIPv4Address string
	HostIPv6Address        string
	MetadataFileStatus     string
}

// metadataFile reads the container metadata file. It is optional, and on Fargate there is none; without it, or
// before the agent has completed it, the result is empty.
func (p *Provider) metadataFile() fileDoc {
	name := p.env(envMetadataFile)
	if name == "" {
		return fileDoc{}
	}
	data, err := os.ReadFile(name)
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
