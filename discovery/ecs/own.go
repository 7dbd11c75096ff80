package ecs

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/runrig-go/runrig/discovery"
)

// Self returns the task's id as name, its address and, as tag "zone", its
// availability zone. In awsvpc mode and host mode the address has no port: the
// node is reached at the port it is bound to. In bridge mode it is that of the
// host, with the host port.
//
// In bridge and host mode it may call the API or Config.HostIP, for up to ten
// seconds; otherwise it waits only when the metadata lacks the address as yet.
// The errors are ErrNoAddress, ErrHostPort, and those of [Provider.Peers].
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

// ownPlace reads the metadata again while it lacks addresses or ports: they
// appear late.
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
		return place{}, fmt.Errorf("%w: the metadata gives this task %q, of which other tasks reach none; tell the node the address that they reach, if there is one", ErrNoAddress, append(v4, v6...))
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

// ownHost is the address of the container instance that runs this task: as
// Config.HostIP gives it, else as the metadata file does, else from the
// instance's attribute.
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
