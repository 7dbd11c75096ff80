package ecs

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/runrig-go/runrig/discovery/internal/guard"
)

// guarded makes a panic of credentials that a program gave an error: the SDK's
// cache asks them on a goroutine of its own. It has the optional methods that the
// cache looks for.
type guarded struct{ aws.CredentialsProvider }

// Retrieve asks for credentials.
func (g guarded) Retrieve(ctx context.Context) (aws.Credentials, error) {
	return g.call(func() (aws.Credentials, error) { return g.CredentialsProvider.Retrieve(ctx) })
}

// HandleFailToRefresh asks what to do when Retrieve has failed.
func (g guarded) HandleFailToRefresh(ctx context.Context, old aws.Credentials, err error) (aws.Credentials, error) {
	s, ok := g.CredentialsProvider.(aws.HandleFailRefreshCredentialsCacheStrategy)
	if !ok {
		return aws.Credentials{}, err
	}
	return g.call(func() (aws.Credentials, error) { return s.HandleFailToRefresh(ctx, old, err) })
}

func (guarded) call(f func() (aws.Credentials, error)) (c aws.Credentials, err error) {
	err = guard.Call("credentials of Config.AWS", func() error {
		c, err = f()
		return err
	})
	return c, err
}

// ProviderSources says where credentials come from, for the SDK's user agent.
func (g guarded) ProviderSources() []aws.CredentialSource {
	if s, ok := g.CredentialsProvider.(aws.CredentialProviderSource); ok {
		return s.ProviderSources()
	}
	return nil
}

// IsCredentialsProvider says whether they are of the kind of target.
func (g guarded) IsCredentialsProvider(target aws.CredentialsProvider) bool {
	return aws.IsCredentialsProvider(g.CredentialsProvider, target)
}
