package ecstest

import (
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// serveMetadata answers for the container whose id is in the path (versions 3
// and 4), or for the task that has the caller's address (version 2).
func (f *Fake) serveMetadata(w http.ResponseWriter, r *http.Request) {
	if fault, ok := f.count(Metadata); ok {
		fault.answer(w, r, f.closing)
		return
	}
	f.mu.Lock()
	answer, status := f.metadata(r)
	f.mu.Unlock()
	if answer == nil {
		http.Error(w, "unable to get metadata", status)
		return
	}
	writeJSON(w, "application/json", http.StatusOK, answer)
}

// metadata returns the answer, or the status with which that version refuses.
// f.mu is held.
func (f *Fake) metadata(r *http.Request) (answer map[string]any, refusal int) {
	part := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	switch {
	case part[0] == "v2" && len(part) == 2 && part[1] == "metadata":
		if t := f.taskAt(r.RemoteAddr); t != nil {
			return t.edited(r.URL.Path, t.taskDoc(2)), 0
		}
		return nil, http.StatusBadRequest
	case (part[0] == "v3" || part[0] == "v4") && len(part) >= 2:
		version := int(part[0][1] - '0')
		i := slices.IndexFunc(f.tasks, func(t *Task) bool { return t.endpoint == part[1] && t.removed.IsZero() })
		switch {
		case i < 0 && version == 3:
			return nil, http.StatusInternalServerError
		case i < 0:
			return nil, http.StatusNotFound
		case len(part) == 2:
			t := f.tasks[i]
			return t.edited(r.URL.Path, t.containerDoc(t.cfg.Container, version)), 0
		case len(part) == 3 && part[2] == "task":
			return f.tasks[i].edited(r.URL.Path, f.tasks[i].taskDoc(version)), 0
		}
	}
	return nil, http.StatusNotFound
}

// taskAt finds the task that runs and has the address of the caller.
func (f *Fake) taskAt(remote string) *Task {
	from, err := netip.ParseAddrPort(remote)
	if err != nil {
		return nil
	}
	for _, t := range f.tasks {
		if ip, err := netip.ParseAddr(t.cfg.Address); err == nil && ip == from.Addr().Unmap() && t.cfg.NetworkMode == "awsvpc" && t.removed.IsZero() && t.status() != "STOPPED" {
			return t
		}
	}
	return nil
}

// edited is an answer as it is given. fake.mu is held.
func (t *Task) edited(path string, doc map[string]any) map[string]any {
	if t.bare > 0 {
		t.bare--
		stripNetworks(doc)
	}
	if t.cfg.EditMetadata != nil {
		t.cfg.EditMetadata(path, doc)
	}
	return doc
}

func stripNetworks(doc map[string]any) {
	delete(doc, "Networks")
	delete(doc, "Ports")
	containers, _ := doc["Containers"].([]any)
	for _, c := range containers {
		stripNetworks(c.(map[string]any))
	}
}

func (t *Task) taskDoc(version int) map[string]any {
	doc := map[string]any{
		"AvailabilityZone": t.cfg.Zone,
		"Cluster":          t.fake.arn("cluster/" + t.cluster.name),
		"DesiredStatus":    desired(t.status()),
		"Family":           t.cfg.Family,
		"KnownStatus":      t.status(),
		"Revision":         strconv.Itoa(t.cfg.Revision),
		"TaskARN":          t.ARN(),
	}
	if t.cfg.LaunchType != "FARGATE" {
		doc["Cluster"] = t.cluster.name // both forms occur
	}
	if version >= 4 {
		doc["LaunchType"] = t.cfg.LaunchType
		if t.cfg.Service != "" && t.cfg.LaunchType == "EC2" {
			doc["ServiceName"] = t.cfg.Service
		}
	}
	containers := []any{}
	if t.cfg.NetworkMode == "awsvpc" && t.cfg.LaunchType != "FARGATE" {
		containers = append(containers, map[string]any{"Name": "~internal~ecs~pause", "Type": "CNI_PAUSE"})
	}
	for _, name := range append(append([]string{}, t.cfg.Sidecars...), t.cfg.Container) {
		containers = append(containers, t.containerDoc(name, version))
	}
	doc["Containers"] = containers
	return doc
}

func (t *Task) containerDoc(name string, version int) map[string]any {
	doc := map[string]any{
		"DesiredStatus": desired(t.status()),
		"DockerId":      t.id + "-" + name,
		"DockerName":    "ecs-" + t.cfg.Family + "-" + strconv.Itoa(t.cfg.Revision) + "-" + name,
		"Image":         "example/" + name + ":1",
		"KnownStatus":   t.status(),
		"Labels": map[string]any{
			"com.amazonaws.ecs.cluster":                t.fake.arn("cluster/" + t.cluster.name),
			"com.amazonaws.ecs.container-name":         name,
			"com.amazonaws.ecs.task-arn":               t.ARN(),
			"com.amazonaws.ecs.task-definition-family": t.cfg.Family,
		},
		"Name":     name,
		"Networks": []any{t.network(version)},
		"Type":     "NORMAL",
	}
	if t.cfg.NetworkMode != "awsvpc" && len(t.portsOf(name)) > 0 {
		ports := []any{}
		for _, m := range t.portsOf(name) {
			ports = append(ports, map[string]any{
				"ContainerPort": m.ContainerPort, "HostPort": m.HostPort, "Protocol": m.Protocol, "HostIp": "0.0.0.0",
			})
		}
		doc["Ports"] = ports
	}
	return doc
}

func (t *Task) network(version int) map[string]any {
	doc := map[string]any{"NetworkMode": t.cfg.NetworkMode}
	switch {
	case t.cfg.NetworkMode == "host":
		doc["IPv4Addresses"] = []string{""} // as the agent has it
	case t.cfg.NetworkMode == "bridge":
		doc["IPv4Addresses"] = []string{"172.17.0.2"}
	case t.isIPv6():
		doc["IPv6Addresses"] = []string{t.cfg.Address}
	default:
		doc["IPv4Addresses"] = []string{t.cfg.Address}
	}
	if version >= 4 && t.cfg.NetworkMode == "awsvpc" {
		doc["AttachmentIndex"] = 0
		doc["MACAddress"] = "0e:9f:3a:bc:de:01"
	}
	return doc
}
