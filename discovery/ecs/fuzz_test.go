package ecs

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
)

// Whatever a description says, looking at it does not panic and gives no address that is of no use.
func FuzzLook(f *testing.F) {
	for _, seed := range []string{
		`{}`,
		`{"LastStatus":"RUNNING","Attachments":[{"Type":"ElasticNetworkInterface","Details":[{"Name":"privateIPv4Address","Value":"10.0.0.1"}]}]}`,
		`{"LastStatus":"RUNNING","Attachments":[{"Type":"ElasticNetworkInterface","Details":[{"Name":"privateIPv4Address","Value":"169.254.1.1"},{}]},{}]}`,
		`{"ContainerInstanceArn":"x","Containers":[{"NetworkBindings":[{"ContainerPort":7946,"HostPort":1,"Protocol":"tcp"},{"ContainerPort":7946,"HostPort":1,"Protocol":"udp"}]}]}`,
		`{"ContainerInstanceArn":"x","Containers":[{"NetworkBindings":[{"ContainerPort":7946,"HostPort":-1,"Protocol":"tcp"},{"HostPort":70000}]},{}]}`,
		`{"Containers":[{"NetworkInterfaces":[{"Ipv6Address":"fe80::1%lo"},{"PrivateIpv4Address":"0.0.0.0"}]}]}`,
	} {
		f.Add([]byte(seed), "bridge")
		f.Add([]byte(seed), "host")
	}
	f.Fuzz(func(t *testing.T, description []byte, mode string) {
		var task types.Task
		if json.Unmarshal(description, &task) != nil {
			return
		}
		p := &Provider{cfg: Config{Port: DefaultPort, Logger: slog.New(slog.DiscardHandler)}, task: Task{NetworkMode: mode}}
		s := p.look(task)
		switch {
		case s.ip.IsValid() && (!p.rule.usable(s.ip) || s.reason != "" || s.refused != nil):
			t.Errorf("look gave %+v", s)
		case !s.ip.IsValid() && s.instance == "" && s.reason == "" && s.refused == nil:
			t.Errorf("look gave neither an address nor a reason: %+v", s)
		case s.refused == nil && (s.port < 1 || s.port > 65535):
			t.Errorf("look gave port %d", s.port)
		}
	})
}

// Whatever the metadata says, reading it does not panic and gives no address that is of no use.
func FuzzMetadata(f *testing.F) {
	f.Add([]byte(`{"Cluster":"c","TaskARN":"arn:aws:ecs:r:a:task/c/1"}`), []byte(`{"Networks":[{"NetworkMode":"awsvpc","IPv4Addresses":["10.0.0.1"]}]}`))
	f.Add([]byte(`{"Cluster":"c","TaskARN":"arn:aws:ecs:r:a:task/1","Containers":[{"Networks":[{"NetworkMode":"host","IPv4Addresses":[""]}]}]}`), []byte(`{}`))
	f.Add([]byte(`{}`), []byte(`{"Networks":[{"NetworkMode":"bridge"}],"Ports":[{"ContainerPort":7946,"HostPort":99999,"Protocol":"tcp"}]}`))
	f.Fuzz(func(t *testing.T, task, container []byte) {
		var m metadata
		if json.Unmarshal(task, &m.task) != nil || json.Unmarshal(container, &m.container) != nil {
			return
		}
		if own, err := m.identity(); err == nil && (own.ID == "" || own.Cluster == "") {
			t.Errorf("identity is %+v", own)
		}
		var rule addressRule
		at, err := rule.ownPlace(m, DefaultPort)
		if err == nil && (at.onHost == rule.usable(at.ip) || at.port < 0 || at.port > 65535) {
			t.Errorf("own place is %+v", at)
		}
	})
}

func TestMetadataIsNotAskedThroughAProxy(t *testing.T) {
	t.Parallel()
	if newMetadataClient(endpoint{}).http.Transport.(*http.Transport).Proxy != nil {
		t.Error("the client has a proxy, which cannot reach a link-local address of this task")
	}
}
