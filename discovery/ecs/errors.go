package ecs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/ecs/types"

	"github.com/runrig-go/runrig/discovery"
)

// What can go wrong, to be matched with [errors.Is]. The texts around them name
// the setting, what was seen and what to do. All but ErrTemporary need somebody
// to change something, so that discovery.IsMisconfigured is true for them and a
// node asks slowly; it does go on, since a policy that is attached, say, takes
// some time to work.
var (
	// ErrNotOnECS means that this process is not a container of an ECS task.
	// Nothing was waited for, unless there are container credentials, as ECS is
	// not alone in giving them: then, some seconds. Use another provider there,
	// such as discovery.Static.
	ErrNotOnECS = discovery.Misconfigured(errors.New("ecs: not on Amazon ECS"))
	// ErrTemporary means that the API or the metadata endpoint could not answer
	// now: throttling, a fault, a time-out, no connection. The last list that
	// was good is still the best one; ask again.
	ErrTemporary error = temporary{errors.New("ecs: temporarily unavailable")}
	// ErrAccessDenied means that the task role may not call the API. Attach the
	// policy that the text shows to it.
	ErrAccessDenied = discovery.Misconfigured(errors.New("ecs: access denied"))
	// ErrNoCredentials means that there are no AWS credentials, or none that
	// AWS accepts. Give the task definition a taskRoleArn, or Config.AWS
	// credentials.
	ErrNoCredentials = discovery.Misconfigured(errors.New("ecs: no usable AWS credentials"))
	// ErrNoRegion means that nothing says which AWS region to ask. Set
	// Config.Region or AWS_REGION.
	ErrNoRegion = discovery.Misconfigured(errors.New("ecs: no AWS region"))
	// ErrClusterNotFound means that there is no such ECS cluster in the account
	// and region. See Config.Cluster and Region.
	ErrClusterNotFound = discovery.Misconfigured(errors.New("ecs: cluster not found"))
	// ErrServiceNotFound means that the cluster has no such service, nor any of
	// the others that are looked for. See Config.Services; one that is only
	// being created appears after a while.
	ErrServiceNotFound = discovery.Misconfigured(errors.New("ecs: service not found"))
	// ErrNoAddress means that there is no address at which other nodes could
	// reach a task. Use the network mode awsvpc, or set Config.HostIP.
	ErrNoAddress = discovery.Misconfigured(errors.New("ecs: no usable address"))
	// ErrHostPort means that a task in bridge mode does not map the port to one
	// host port that is the same for tcp and udp. Dynamic host ports never do:
	// set hostPort in both mappings.
	ErrHostPort = discovery.Misconfigured(errors.New("ecs: unsuitable port mapping"))
)

// temporary is an error that passes by itself, whatever stands beside it.
type temporary struct{ error }

func (temporary) Misconfigured() bool { return false }

// The actions of the API this package calls, as IAM writes them.
const (
	actionListTasks         = "ecs:ListTasks"
	actionDescribeTasks     = "ecs:DescribeTasks"
	actionDescribeInstances = "ecs:DescribeContainerInstances"
)

// call names one call of the API for its error.
type call struct {
	action, cluster, service, region string
}

func (c call) String() string {
	s := fmt.Sprintf("%s in cluster %q, region %q", c.action, c.cluster, c.region)
	if c.service != "" {
		s += fmt.Sprintf(", service %q", c.service)
	}
	return s
}

// way says how a task's network reaches the API.
func (c call) way() string {
	return fmt.Sprintf("a NAT gateway, a public IP or the interface endpoint com.amazonaws.%s.ecs, outbound by https", c.region)
}

// Error codes of AWS, as far as they mean more than "a bad request".
var (
	deniedCodes = []string{"AccessDeniedException", "AccessDenied", "UnauthorizedOperation", "NotAuthorized"}

	credentialCodes = []string{
		"UnrecognizedClientException", "InvalidClientTokenId", "InvalidSignatureException", "SignatureDoesNotMatch",
		"IncompleteSignature", "IncompleteSignatureException", "MissingAuthenticationToken", "MissingAuthenticationTokenException",
		"ExpiredToken", "ExpiredTokenException", "OptInRequired",
	}

	// Codes that come with HTTP status 400 although they pass by themselves.
	temporaryCodes = []string{
		"ThrottlingException", "Throttling", "ThrottledException", "RequestThrottled", "RequestThrottledException",
		"RequestLimitExceeded", "TooManyRequestsException", "SlowDown", "LimitExceededException", "BandwidthLimitExceeded",
		"ServerException", "InternalFailure", "InternalError", "InternalServerError", "ServiceUnavailable", "RequestTimeout",
		"RequestTimeoutException", "RequestExpired",
		"UnknownError", // the SDK's own, for an answer that is not in the form of AWS
	}
)

// classify turns what the SDK returned for c into one of this package's errors.
func (c call) classify(ctx context.Context, err error) error {
	switch cause := context.Cause(ctx); {
	case errors.Is(cause, errSlow):
		return fmt.Errorf("%w: %v: %w (the API is reached through %s): %w", ErrTemporary, c, cause, c.way(), err)
	case cause != nil:
		return fmt.Errorf("ecs: %v: %w", c, cause)
	}
	if what, kind := c.known(err); kind != nil {
		return fmt.Errorf("%w: %v: %s: %w", kind, c, what, err)
	}
	var api interface{ ErrorCode() string } // smithy.APIError, which only answers of the API implement
	switch {
	case !errors.As(err, &api):
		return fmt.Errorf("%w: %v: no answer (the API is reached through %s): %w", ErrTemporary, c, c.way(), err)
	case slices.Contains(temporaryCodes, api.ErrorCode()), status(err) >= 500, status(err) == 429:
		return fmt.Errorf("%w: %v: %w", ErrTemporary, c, err)
	}
	return discovery.Misconfigured(fmt.Errorf("ecs: %v: %w", c, err))
}

// known returns what to do about an error that needs somebody to act, and its
// sentinel.
func (c call) known(err error) (what string, kind error) {
	var noCluster *types.ClusterNotFoundException
	var noService *types.ServiceNotFoundException
	var deleted *types.ServiceNotActiveException
	var api interface{ ErrorCode() string }
	switch {
	case errors.As(err, &noCluster):
		return "check Config.Cluster, and the region (Config.Region, AWS_REGION)", ErrClusterNotFound
	case errors.As(err, &noService), errors.As(err, &deleted):
		return "check Config.Services", ErrServiceNotFound
	case !errors.As(err, &api):
		return "", nil
	case slices.Contains(deniedCodes, api.ErrorCode()):
		return fmt.Sprintf("the task role (taskRoleArn of the task definition, not the execution role) must allow %s",
			strings.Join(neededActions(c.action), " and ")), ErrAccessDenied
	case slices.Contains(credentialCodes, api.ErrorCode()):
		return "AWS refused the credentials; give the task definition a task role (taskRoleArn) and set no AWS keys by hand", ErrNoCredentials
	}
	return "", nil
}

// neededActions are the actions the task role must allow. Container instances
// are asked about only where tasks do not have an address of their own.
func neededActions(refused string) []string {
	actions := []string{actionListTasks, actionDescribeTasks}
	if refused == actionDescribeInstances {
		actions = append(actions, actionDescribeInstances)
	}
	return actions
}

// status is the HTTP status of the answer that err stands for, or 0.
func status(err error) int {
	var response interface{ HTTPStatusCode() int }
	if errors.As(err, &response) {
		return response.HTTPStatusCode()
	}
	return 0
}
