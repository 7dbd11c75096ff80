package dynamodb

import (
	"errors"
	"fmt"
	"regexp"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go"

	"github.com/runrig-go/runrig/verticle/lease"
)

// need is what the role of the program must allow.
const need = "dynamodb:GetItem and dynamodb:UpdateItem"

// wrap says what failed where, and whether somebody has to mend the set-up.
func (s *Store) wrap(verb, key string, err error) error {
	if err == nil {
		return nil
	}
	if setup := wrongSetup(err); setup != "" {
		return fmt.Errorf("lease/dynamodb: %s %q in table %s: %w: %s: %w", verb, key, s.table, lease.ErrMisconfigured, setup, err)
	}
	return fmt.Errorf("lease/dynamodb: %s %q in table %s: %w", verb, key, s.table, err)
}

// wrongSetup says what somebody has to mend, if that is what err is about.
func wrongSetup(err error) string {
	if errors.As(err, new(*types.ResourceNotFoundException)) {
		return "there is no such table in this region and account; table.cfn.yaml of this package makes it, and allows the role of the task " + need
	}
	var api smithy.APIError
	if !errors.As(err, &api) {
		return ""
	}
	switch api.ErrorCode() {
	case "AccessDeniedException":
		return roleOf(api.ErrorMessage()) + " needs " + need + " on the table"
	case "UnrecognizedClientException", "InvalidSignatureException", "MissingAuthenticationTokenException":
		return "DynamoDB does not take the credentials; they must be of a role that allows " + need + " on the table"
	case "ValidationException":
		return "the table must have a partition key \"key\" of type string, no sort key, and an item of this key at most 400 KB"
	}
	return ""
}

var assumedRole = regexp.MustCompile(`:assumed-role/([^/\s]+)`)

// roleOf is the role that DynamoDB names in a message.
func roleOf(message string) string {
	if m := assumedRole.FindStringSubmatch(message); m != nil {
		return "the role " + m[1]
	}
	return "the role of the program"
}
