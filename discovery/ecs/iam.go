package ecs

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"strings"
)

// showPolicy logs the policy that the task role needs when err says that access
// was denied, once in the life of the provider.
func (p *Provider) showPolicy(c call, err error) {
	if !errors.Is(err, ErrAccessDenied) || !p.policyShown.CompareAndSwap(false, true) {
		return
	}
	p.cfg.Logger.Error("task role lacks permissions; attach this policy to it",
		slog.String("policy", policy(p.arn.partition, p.api.region, cmp.Or(p.account, "*"), lastPart(c.cluster), neededActions(c.action))), slog.Any("err", err))
}

// policy is the least that a task role needs. ListTasks is authorised against
// every resource, and limited by the condition; the others have resources of
// their own. (AWS, "Actions, resources, and condition keys for Amazon Elastic
// Container Service".)
func policy(partition, region, account, cluster string, actions []string) string {
	base := fmt.Sprintf("arn:%s:ecs:%s:%s:", partition, region, account)
	var statements []string
	for _, action := range actions {
		resource := "*"
		switch action {
		case actionDescribeTasks:
			resource = base + "task/" + cluster + "/*"
		case actionDescribeInstances:
			resource = base + "container-instance/" + cluster + "/*"
		}
		statements = append(statements, fmt.Sprintf(
			`{"Effect":"Allow","Action":%q,"Resource":%q,"Condition":{"ArnEquals":{"ecs:cluster":%q}}}`,
			action, resource, base+"cluster/"+cluster))
	}
	return `{"Version":"2012-10-17","Statement":[` + strings.Join(statements, ",") + `]}`
}
