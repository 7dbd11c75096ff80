package ecs

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	awsecs "github.com/aws/aws-sdk-go-v2/service/ecs"
)

// callLimit bounds all the calls that one call of Peers or Self makes together.
// The SDK itself has no limit for a request.
const callLimit = 10 * time.Second

// errSlow is the cause of a context that callLimit ended.
var errSlow = fmt.Errorf("no complete answer within %v", callLimit)

// option is what every call of the SDK takes any number of.
type option = func(*awsecs.Options)

// api is the part of the ECS API that is used. The client's methods are held as
// func values: a *Client in a field keeps the code of all its seventy calls in
// every program.
type api struct {
	region      string
	credentials *credentials

	listTasks         func(context.Context, *awsecs.ListTasksInput, ...option) (*awsecs.ListTasksOutput, error)
	describeTasks     func(context.Context, *awsecs.DescribeTasksInput, ...option) (*awsecs.DescribeTasksOutput, error)
	describeInstances func(context.Context, *awsecs.DescribeContainerInstancesInput, ...option) (*awsecs.DescribeContainerInstancesOutput, error)
}

func newAPI(ctx context.Context, cfg Config, env func(string) string, arn taskARN, task string) (api, error) {
	region := chooseRegion(cfg, env, arn.region)
	sdk, err := loadSDK(ctx, cfg.AWS, region)
	if err != nil {
		return api{}, err
	}
	if sdk.Region == "" {
		return api{}, fmt.Errorf("%w: neither Config.Region, AWS_REGION, AWS_DEFAULT_REGION, the task ARN %q nor the AWS configuration has one; set AWS_REGION",
			ErrNoRegion, task)
	}
	if sdk.Region != arn.region && cfg.Cluster == "" {
		cfg.Logger.Warn("region to ask differs from the region of the task",
			slog.String("region", sdk.Region), slog.String("task", task))
	}
	if sdk.Credentials == nil {
		return api{}, fmt.Errorf("%w: Config.AWS has no Credentials", ErrNoCredentials)
	}
	client := awsecs.NewFromConfig(sdk, func(o *awsecs.Options) { o.HTTPClient = boundedClient{o.HTTPClient} })
	return api{
		region:            sdk.Region,
		credentials:       newCredentials(sdk.Credentials, cfg, env),
		listTasks:         client.ListTasks,
		describeTasks:     client.DescribeTasks,
		describeInstances: client.DescribeContainerInstances,
	}, nil
}

// chooseRegion returns "" to leave it to the SDK.
func chooseRegion(cfg Config, env func(string) string, ofTask string) string {
	candidates := []string{cfg.Region, arnField(cfg.Cluster, 3), env("AWS_REGION"), env("AWS_DEFAULT_REGION"), ofTask}
	if cfg.AWS != nil {
		candidates = []string{cfg.Region, arnField(cfg.Cluster, 3), cfg.AWS.Region, ofTask}
	}
	for _, region := range candidates {
		if region != "" {
			return region
		}
	}
	return ""
}

// loadSDK returns the configuration to use, as a copy that never prints.
func loadSDK(ctx context.Context, given *aws.Config, region string) (aws.Config, error) {
	var sdk aws.Config
	if given != nil {
		sdk = given.Copy()
	} else {
		var err error
		if sdk, err = config.LoadDefaultConfig(ctx, config.WithRegion(region)); err != nil {
			return sdk, fmt.Errorf("%w: the AWS configuration (environment, shared files) cannot be loaded: %w", ErrNoCredentials, err)
		}
		sdk.Logger = nil // the default one writes to standard error
	}
	if region != "" {
		sdk.Region = region
	}
	if _, cached := sdk.Credentials.(*aws.CredentialsCache); !cached && sdk.Credentials != nil {
		sdk.Credentials = aws.NewCredentialsCache(guarded{sdk.Credentials})
	}
	return sdk, nil
}

// limit bounds the calls of the API that follow.
func limit(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, callLimit, errSlow)
}
