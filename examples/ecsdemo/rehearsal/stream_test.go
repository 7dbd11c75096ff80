package rehearsal

import (
	"slices"
	"testing"
)

func TestFlowProblems(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		flow flow
		want []string
	}{
		"all is handled":               {flow{sent: 3, sentSum: 9, handled: 3, handledSum: 9}, nil},
		"one is lost":                  {flow{sent: 3, sentSum: 9, handled: 2, handledSum: 5}, []string{"k: 1 lost"}},
		"one failed":                   {flow{sent: 2, sentSum: 9, failed: 1, handled: 2, handledSum: 9}, []string{"k: 1 failed"}},
		"one failed and was handled":   {flow{sent: 2, sentSum: 9, failed: 1, handled: 3, handledSum: 12}, []string{"k: 1 failed"}},
		"one is handled twice":         {flow{sent: 3, sentSum: 9, handled: 4, handledSum: 10}, []string{"k: what was handled is not what was sent: some of it twice"}},
		"one is lost, another twice":   {flow{sent: 3, sentSum: 9, handled: 3, handledSum: 8}, []string{"k: what was handled is not what was sent: some of it twice"}},
		"one is lost, and one failed":  {flow{sent: 3, sentSum: 9, failed: 1, handled: 2, handledSum: 5}, []string{"k: 1 failed", "k: 1 lost"}},
		"sums that run over are equal": {flow{sent: 2, handled: 2}.plus(flow{sentSum: 1 << 63}).plus(flow{sentSum: 1 << 63}), nil},
	} {
		if got := c.flow.problems("k"); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
