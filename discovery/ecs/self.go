package ecs

import (
	"context"
	"errors"
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
// host, with the host port. A task has one place: of two containers of one task
// only one can run a node.
//
// In bridge and host mode, and where the metadata lack the zone, it may call the
// API or Config.HostIP, for up to ten seconds; otherwise it waits only when the
// metadata lack the address as yet. The errors are ErrNoAddress, ErrHostPort,
// and those of [Provider.Peers]; a zone that could not be asked is only logged.
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
		tags := map[string]string{}
		if zone := p.ownZone(ctx); zone != "" {
			tags["zone"] = zone
		}
		p.self = &discovery.Self{Name: p.task.ID, Addr: addr, Tags: tags}
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

// ownZone is asked of the API where the metadata lack it, as older ones do.
func (p *Provider) ownZone(ctx context.Context) string {
	if p.task.Zone != "" || !p.atHome() {
		return p.task.Zone
	}
	ctx, cancel := limit(ctx)
	defer cancel()
	if _, err := p.describeOwn(ctx); err != nil {
		p.cfg.Logger.Warn("the own availability zone is not known, so that the node has no tag \"zone\"", "err", err)
	}
	return p.Task().Zone
}

// ownPlace reads the metadata again while it lacks addresses or ports: they
// appear late. Agents of before version 1.41.1 never tell host ports there.
func (p *Provider) ownPlace(ctx context.Context) (place, error) {
	at, err := p.placeNow()
	for try := 0; err != nil && try < metadataTries-1; try++ {
		if perr := pause(ctx, metadataPause<<try); perr != nil {
			return place{}, fmt.Errorf("%w; waiting for it: %w", err, perr)
		}
		m, ferr := p.endpoint.fetch(ctx)
		if ferr != nil {
			return place{}, ferr
		}
		if err := p.learn(m); err != nil {
			return place{}, err
		}
		at, err = p.placeNow()
	}
	if errors.Is(err, errUnmapped) && !p.away() {
		return p.describedPlace(ctx, err)
	}
	return at, err
}

// placeNow is what the metadata and the metadata file tell.
func (p *Provider) placeNow() (place, error) {
	at, err := p.rule.ownPlace(p.meta, p.cfg.Port)
	if errors.Is(err, errUnmapped) {
		if port, ferr := hostPort(p.metadataFile().bindings(), p.cfg.Port); ferr == nil {
			return place{onHost: true, port: port}, nil
		}
	}
	return at, err
}

// describedPlace takes the host port from the task's description. Before the
// task runs, that may lack it, too.
func (p *Provider) describedPlace(ctx context.Context, lacking error) (place, error) {
	ctx, cancel := limit(ctx)
	defer cancel()
	for {
		own, err := p.describeOwnAgain(ctx)
		if err != nil {
			return place{}, fmt.Errorf("%w (asked since the metadata do not tell: %w)", err, lacking)
		}
		port, err := hostPort(own.bindings, p.cfg.Port)
		switch {
		case err == nil:
			return place{onHost: true, port: port}, nil
		case own.runs:
			return place{}, err
		}
		if perr := pause(ctx, describePause); perr != nil {
			return place{}, fmt.Errorf("%w: the task does not run yet, for ECS, and %v; waiting for it: %w", ErrTemporary, err, perr)
		}
	}
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

func (m metadata) bindings() []binding { return bindingsIn(m.container.Ports) }

func bindingsIn(ports []portDoc) []binding {
	bindings := make([]binding, 0, len(ports))
	for _, d := range ports {
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
