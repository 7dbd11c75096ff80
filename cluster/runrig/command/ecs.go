package command

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"
)

// metadataVariable is where ECS tells a container where its task's metadata is.
const metadataVariable = "ECS_CONTAINER_METADATA_URI_V4"

// taskMetadata is a part of what is told there.
type taskMetadata struct {
	Cluster, TaskARN, Family, Revision, KnownStatus, LaunchType, AvailabilityZone, ServiceName string

	Containers []struct {
		Networks []struct {
			NetworkMode   string
			IPv4Addresses []string
		}
	}
}

// doctorECS looks at the task that this process runs in, if it does.
func (c *call) doctorECS(ctx context.Context, d *chart) {
	at := c.getenv(metadataVariable)
	if at == "" {
		return
	}
	t, err := readTask(ctx, at)
	if err != nil {
		d.fail("metadata", "%v", err)
		return
	}
	said := "task " + t.TaskARN[strings.LastIndex(t.TaskARN, "/")+1:]
	for _, f := range []struct{ name, value string }{
		{"cluster", t.Cluster}, {"service", t.ServiceName}, {"family", t.Family + ":" + t.Revision},
		{"launch type", t.LaunchType}, {"zone", t.AvailabilityZone}, {"status", t.KnownStatus},
	} {
		if f.value != "" {
			said += ", " + f.name + " " + f.value
		}
	}
	d.ok("metadata", "%s", said)
	d.address(t)
}

func readTask(ctx context.Context, at string) (t taskMetadata, err error) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at+"/task", nil)
	if err != nil {
		return t, fmt.Errorf("%s: %w", metadataVariable, err)
	}
	client := http.Client{Transport: &http.Transport{Proxy: nil, DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return t, fmt.Errorf("%s: %w", metadataVariable, err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return t, fmt.Errorf("%s: %s", metadataVariable, resp.Status)
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&t); err != nil {
		return t, fmt.Errorf("%s: %w", metadataVariable, err)
	}
	return t, nil
}

// address says whether the address of an awsvpc task is one of this machine's.
func (d *chart) address(t taskMetadata) {
	for _, c := range t.Containers {
		for _, n := range c.Networks {
			if n.NetworkMode != "awsvpc" || len(n.IPv4Addresses) == 0 {
				continue
			}
			ip := n.IPv4Addresses[0]
			if name, mtu, ok := interfaceOf(ip); ok {
				d.ok("address", "%s, of the task, is on interface %s, with an MTU of %d", ip, name, mtu)
			} else {
				d.fail("address", "%s, which the metadata tells, is on no interface: is this process in the task's network?", ip)
			}
			return
		}
	}
}

func interfaceOf(addr string) (name string, mtu int, ok bool) {
	ip, err := netip.ParseAddr(addr)
	all, ierr := net.Interfaces()
	if err != nil || ierr != nil {
		return "", 0, false
	}
	for _, i := range all {
		addrs, _ := i.Addrs()
		for _, a := range addrs {
			if p, err := netip.ParsePrefix(a.String()); err == nil && (p.Addr() == ip || ip.IsLoopback() && p.Contains(ip)) {
				return i.Name, i.MTU, true
			}
		}
	}
	return "", 0, false
}
