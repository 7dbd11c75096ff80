package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
)

// shape is what the processes of a system look like. Cases of one group whose
// shapes are equal share them.
type shape struct {
	system    string
	receivers int // 0: sender and receiver are one process
	keys      *Keys
}

// fleet is the processes of one system.
type fleet struct {
	shape
	sender    *process
	receivers []*process // the sender too, if that is all there is
	all       []*process
	addrs     []string
	runs      uint64
	profile   string // path without an ending; "" for none
}

// start starts the processes in the order in which they find each other: hub,
// receivers, sender. With bare it leaves out the sender. Stop is due if it
// fails, too.
func (f *fleet) start(ctx context.Context, bare bool) (err error) {
	if f.system == natsSystem {
		if _, err = f.add(ctx, hubRole); err != nil {
			return err
		}
	}
	for range f.shape.receivers {
		p, err := f.add(ctx, receiverRole)
		if err != nil {
			return err
		}
		f.receivers = append(f.receivers, p)
	}
	switch {
	case bare:
	case f.shape.receivers == 0:
		f.sender, err = f.add(ctx, localRole)
		f.receivers = []*process{f.sender}
	default:
		f.sender, err = f.add(ctx, senderRole)
	}
	return err
}

func (f *fleet) setup(role string) Setup {
	return Setup{System: f.system, Role: role, Addrs: f.addrs, Keys: f.keys}
}

// spawn starts a process that has no part in the system yet.
func (f *fleet) spawn(role string) (*process, error) {
	name := fmt.Sprintf("%s-%s%d", f.system, role, len(f.all))
	if f.keys != nil {
		name += "-tls"
	}
	p, err := startProcess(name)
	if err == nil {
		f.all = append(f.all, p)
	}
	return p, err
}

func (f *fleet) add(ctx context.Context, role string) (*process, error) {
	p, err := f.spawn(role)
	if err != nil {
		return nil, err
	}
	var addr string
	if err := p.call(ctx, "Start", f.setup(role), &addr); err != nil {
		return p, err
	}
	if addr != "" {
		f.addrs = append(f.addrs, addr)
	}
	return p, nil
}

// stop ends the processes, the last one first.
func (f *fleet) stop() (err error) {
	for i := len(f.all) - 1; i >= 0; i-- {
		err = errors.Join(err, f.all[i].stop())
	}
	return err
}

// each asks all processes, or those given, the same.
func each(ctx context.Context, ps []*process, method string, args any) error {
	for _, p := range ps {
		if err := p.call(ctx, method, args, &None{}); err != nil {
			return err
		}
	}
	return nil
}

// usage adds up what all processes have used.
func (f *fleet) usage(ctx context.Context) (sum Usage, err error) {
	for _, p := range f.all {
		var u Usage
		if err := p.call(ctx, "Usage", None{}, &u); err != nil {
			return sum, err
		}
		sum = sum.plus(u)
	}
	return sum, nil
}

// measured runs f and returns what the processes have used meanwhile.
func (f *fleet) measured(ctx context.Context, run func() error) (Usage, error) {
	before, err := f.usage(ctx)
	if err != nil {
		return Usage{}, err
	}
	if err := run(); err != nil {
		return Usage{}, err
	}
	after, err := f.usage(ctx)
	return after.minus(before), err
}

// startProfile makes all processes write a CPU profile until endProfile.
func (f *fleet) startProfile(ctx context.Context, dir, name string) error {
	f.profile = filepath.Join(dir, strings.ReplaceAll(name, "/", "-")+".")
	for _, p := range f.all {
		if err := p.call(ctx, "Profile", f.profile+p.name, &None{}); err != nil {
			return err
		}
	}
	return nil
}

func (f *fleet) endProfile(ctx context.Context) error {
	if f.profile == "" {
		return nil
	}
	for _, p := range f.all {
		if err := p.call(ctx, "EndProfile", f.profile+p.name, &None{}); err != nil {
			return err
		}
	}
	return nil
}
