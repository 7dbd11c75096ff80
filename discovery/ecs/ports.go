package ecs

import (
	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
)

// mappings are the port mappings that a description shows.
type mappings struct {
	named []binding // of the container that runs the node
	all   []binding // of all containers
}

// mappingsOf returns the mappings of t. The container that runs the node has
// the name of the own one, which is usually the same in every task of a service;
// in a task that has none of that name any may be it.
func mappingsOf(t types.Task, container string) mappings {
	var m mappings
	has := false
	for _, c := range t.Containers {
		bindings := bindingsOf(c)
		m.all = append(m.all, bindings...)
		if container != "" && text(c.Name) == container {
			has = true
			m.named = append(m.named, bindings...)
		}
	}
	if !has {
		m.named = m.all
	}
	return m
}

func bindingsOf(c types.Container) []binding {
	var bindings []binding
	for _, n := range c.NetworkBindings {
		b := binding{hostIP: text(n.BindIP), protocol: string(n.Protocol)}
		if n.ContainerPort != nil && n.HostPort != nil {
			b.container, b.host = int(*n.ContainerPort), int(*n.HostPort)
		}
		bindings = append(bindings, b)
	}
	return bindings
}

// lookAtHost is for tasks in bridge or host mode, which are reached at their
// host's address. A description does not tell the mode. A mapping that suits
// counts in both. Else a task that runs without any mapping is in host mode, as
// is one that maps nothing to another port where the own task is; but there,
// mappings may also be late.
func (p *Provider) lookAtHost(t types.Task, s *sighting) {
	m := mappingsOf(t, p.task.Container)
	port, err := hostPort(m.named, p.cfg.Port)
	switch {
	case err == nil:
		s.port, s.sure = port, true
	case p.inHostMode(m.all, s.rank):
	case s.rank > 0:
		s.reason = reasonNoAddress // the mappings appear when the containers run
		return
	default:
		s.refused = err
		return
	}
	s.instance = text(t.ContainerInstanceArn)
}

func (p *Provider) inHostMode(all []binding, rank int) bool {
	for _, b := range all {
		if b.host != b.container {
			return false
		}
	}
	return p.task.NetworkMode == "host" || rank == 0 && len(all) == 0
}
