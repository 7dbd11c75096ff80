package ecs

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"github.com/runrig-go/runrig/discovery"
)

// Self returns the task's id as name, its address and, as tag "zone", its availability zone. In
// awsvpc mode and host mode the address has no port: the node is reached at the port it is bound
// to. In bridge mode it is that of the host, with the host port.
//
// In bridge and host mode it may call the API or Config.HostIP, for up to ten seconds; otherwise
// it waits only when the metadata lacks the address as yet. The errors are ErrNoAddress,
// ErrHostPort, and those of [Provider.Peers].
func (p *Provider) Self(ctx context.Context) (discovery.Self, error) {
	giveBack, err := p.take(ctx)
	if err != nil {
		return discovery.Self{}, err
	}
	defer giveBack()
	if p.self == nil {
		addr, err := p.ownAddress(ctx)
		if err != nil {
			return discovery.Self{}, err
		}
		p.self = &discovery.Self{Name: p.task.ID, Addr: addr, Tags: map[string]string{}}
		if p.task.Zone != "" {
			p.self.Tags["zone"] = p.task.Zone
		}
	}
	self := *p.self
	self.Tags = maps.Clone(self.Tags)
	return self, nil
}

func (p *Provider) ownAddress(ctx context.Context) (string, error) {
	place, err := p.ownPlace(ctx)
	if err != nil {
		return "", err
	}
	if place.onHost {
		ctx, cancel := limit(ctx)
		defer cancel()
		if place.ip, err = p.ownHost(ctx); err != nil {
			return "", err
		}
	}
	if place.port == 0 {
		return place.ip.String(), nil
	}
	return net.JoinHostPort(place.ip.String(), strconv.Itoa(place.port)), nil
}

// place is where a task is reached, as far as one source tells.
type place struct {
	ip     netip.Addr
	onHost bool // at the address of its container instance
	port   int  // 0: at the port it is bound to
}

// ownPlace reads the metadata again while it lacks addresses or ports: they appear late.
func (p *Provider) ownPlace(ctx context.Context) (place, error) {
	at, err := p.rule.ownPlace(p.meta, p.cfg.Port)
	for try := 0; err != nil && try < metadataTries-1; try++ {
		if perr := pause(ctx, metadataPause<<try); perr != nil {
			return place{}, fmt.Errorf("%w; waiting for it: %w", err, perr)
		}
		m, ferr := p.endpoint.fetch(ctx)
		if ferr != nil {
			return place{}, ferr
		}
		p.meta = m
		at, err = p.rule.ownPlace(m, p.cfg.Port)
	}
	return at, err
}

func (r addressRule) ownPlace(m metadata, port int) (place, error) {
	switch mode := m.networkMode(); mode {
	case "awsvpc":
		return r.interfacePlace(m.networks())
	case "host":
		return place{onHost: true}, nil
	case "", "none":
		return place{}, fmt.Errorf("%w: network mode of task %s is %q; use awsvpc, host or bridge", ErrNoAddress, m.task.TaskARN, mode)
	default: // "bridge", and what Docker calls "default" or "nat"
		port, err := hostPort(m.bindings(), port)
		return place{onHost: true, port: port}, err
	}
}

// interfacePlace takes IPv4 before IPv6.
func (r addressRule) interfacePlace(networks []networkDoc) (place, error) {
	var v4, v6 []string
	for _, n := range networks {
		v4, v6 = append(v4, n.IPv4Addresses...), append(v6, n.IPv6Addresses...)
	}
	ip, ok := r.first(append(v4, v6...)...)
	if !ok {
		return place{}, fmt.Errorf("%w: the metadata gives this task %q, of which none is reachable from other tasks", ErrNoAddress, append(v4, v6...))
	}
	return place{ip: ip}, nil
}

func (m metadata) bindings() []binding {
	bindings := make([]binding, 0, len(m.container.Ports))
	for _, d := range m.container.Ports {
		bindings = append(bindings, binding{hostIP: d.HostIP, container: d.ContainerPort, host: d.HostPort, protocol: strings.ToLower(d.Protocol)})
	}
	return bindings
}

// ownHost is the address of the container instance that runs this task: as Config.HostIP gives it,
// else as the metadata file does, else from the instance's attribute.
func (p *Provider) ownHost(ctx context.Context) (netip.Addr, error) {
	file := p.metadataFile()
	if p.cfg.HostIP == nil {
		if ip, ok := p.rule.first(file.HostPrivateIPv4Address, file.HostIPv6Address); ok {
			return ip, nil
		}
	}
	instance := file.ContainerInstanceARN
	if instance == "" {
		own, err := p.describeOwn(ctx)
		if err != nil {
			return netip.Addr{}, err
		}
		instance = own.instance
	}
	if instance == "" {
		return netip.Addr{}, fmt.Errorf("%w: task %s runs on no container instance of which the address could be asked", ErrNoAddress, p.task.ARN)
	}
	if err := p.resolveHosts(ctx, p.task.Cluster, []string{instance}); err != nil {
		return netip.Addr{}, err
	}
	ip, ok := p.host[instance]
	if !ok {
		return netip.Addr{}, noHostAddress(instance)
	}
	return ip, nil
}

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

// ownTask is what the API says about the task this process runs in.
type ownTask struct {
	group    string // "service:NAME", or "family:NAME" for a task of no service
	instance string // ARN of the container instance, "" on Fargate
}

// describeOwn asks the API about this task, once.
func (p *Provider) describeOwn(ctx context.Context) (ownTask, error) {
	if p.own != nil {
		return *p.own, nil
	}
	if err := p.api.ready(ctx); err != nil {
		return ownTask{}, err
	}
	found, err := p.describe(ctx, p.task.Cluster, []string{p.task.ARN})
	if err != nil {
		return ownTask{}, fmt.Errorf("describing the own task: %w", err)
	}
	t, ok := found[p.task.ID]
	if !ok {
		return ownTask{}, fmt.Errorf("%w: own task %s is not among those described", ErrTemporary, p.task.ARN)
	}
	p.own = &ownTask{group: text(t.Group), instance: text(t.ContainerInstanceArn)}
	return *p.own, nil
}

// selections says what to list: what is configured, else the own service, else the own family.
func (p *Provider) selections(ctx context.Context) ([]selection, error) {
	if p.want != nil {
		return p.want, nil
	}
	var want []selection
	for _, name := range p.cfg.Services {
		want = append(want, selection{service: name})
	}
	for _, name := range p.cfg.Families {
		want = append(want, selection{family: name})
	}
	if want == nil {
		one, err := p.ownSelection(ctx)
		if err != nil {
			return nil, err
		}
		want = []selection{one}
	}
	p.want = want
	return want, nil
}

func (p *Provider) ownSelection(ctx context.Context) (selection, error) {
	if p.task.Service != "" {
		return selection{service: p.task.Service}, nil
	}
	own, err := p.describeOwn(ctx)
	if err != nil {
		return selection{}, err
	}
	if service, ok := strings.CutPrefix(own.group, "service:"); ok && service != "" {
		return selection{service: service}, nil
	}
	if p.task.Family == "" {
		return selection{}, fmt.Errorf("%w: task %s is in group %q and has no family; set Config.Services", ErrServiceNotFound, p.task.ARN, own.group)
	}
	p.cfg.Logger.Info("task belongs to no service, looking for tasks of its family", "family", p.task.Family, "group", own.group)
	return selection{family: p.task.Family}, nil
}
