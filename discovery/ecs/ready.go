package ecs

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// credentials are where those for the API come from. Retrieve is called by one
// goroutine at a time.
type credentials struct {
	aws.CredentialsProvider
	source string // that somebody chose, in words; "" if the SDK is left to search
	named  bool   // the environment names a source: the task role, or what somebody chose
	had    bool   // there were some before
}

func newCredentials(provider aws.CredentialsProvider, cfg Config, env func(string) string) *credentials {
	role, chosen := env(envCredentials) != "" || env("AWS_CONTAINER_CREDENTIALS_FULL_URI") != "", chosenKeys(env)
	c := &credentials{CredentialsProvider: provider, named: role || chosen != ""}
	switch {
	case cfg.AWS != nil:
		c.source = "the credentials of Config.AWS"
	case chosen != "":
		c.source = "the credentials that " + chosen + " names"
	case role:
		c.source = "the credentials of the task role"
	}
	return c
}

// chosenKeys is the variable by which somebody chose credentials for the SDK, if
// any did. Where nothing is chosen and there is no task role, the SDK ends at the
// endpoint of an EC2 instance, which a task should not need.
func chosenKeys(env func(string) string) string {
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_WEB_IDENTITY_TOKEN_FILE"} {
		if env(name) != "" {
			return name
		}
	}
	return ""
}

// ready makes sure that there are credentials, so that a lack of them can be
// told from a failing call. They are cached until shortly before they expire.
func (a api) ready(ctx context.Context) error {
	c := a.credentials
	_, err := c.Retrieve(ctx)
	if err == nil {
		c.had = true
		return nil
	}
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, errSlow) {
		return fmt.Errorf("ecs: getting credentials: %w", cause)
	}
	passes := status(err) >= 500 || status(err) == 429 || timedOut(err)
	switch {
	case passes && c.source != "":
		return fmt.Errorf("%w: %s could not be got: %w", ErrTemporary, c.source, err)
	case passes && c.had:
		return fmt.Errorf("%w: credentials could not be got again: %w", ErrTemporary, err)
	case c.named:
		return fmt.Errorf("%w: %s were refused: %w", ErrNoCredentials, c.source, err)
	case c.source != "":
		return fmt.Errorf("%w: %s cannot be had; "+noRole+": %w", ErrNoCredentials, c.source, err)
	}
	return fmt.Errorf("%w: nothing gives any; "+noRole+": %w", ErrNoCredentials, err)
}

// noRole is what to do about a task without a task role.
const noRole = envCredentials + " is not set, so the task has no task role: if they are to be its, set taskRoleArn in the task definition (the execution role is another one)"

func timedOut(err error) bool {
	var timeout net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &timeout)
}
