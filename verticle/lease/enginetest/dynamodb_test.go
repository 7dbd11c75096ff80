package enginetest

import (
	"context"
	"errors"
	"net/http"
	"os/exec"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsdynamodb "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/runrig-go/runrig/verticle/lease"
	"github.com/runrig-go/runrig/verticle/lease/dynamodb"
)

// dynalite is an implementation of DynamoDB by others. It does not tell what is there
// when a condition fails.
var dynaliteEngine = engine{
	env: "LEASE_DYNALITE",
	start: func(t testing.TB) string {
		addr := freeAddr(t)
		program := find(t, "dynalite", "npm install -g dynalite")
		url := "http://" + addr
		client := dynamoClient(url)
		serve(t, exec.Command(program, "--host", "127.0.0.1", "--port", port(addr), "--createTableMs", "0"), func(ctx context.Context) error {
			_, err := client.ListTables(ctx, &awsdynamodb.ListTablesInput{})
			return err
		})
		createTable(t, client)
		return url
	},
	at:       func(hostport string) string { return "http://" + hostport },
	open:     func(t testing.TB, url string) lease.Store { return dynamoStore(t, url) },
	maxValue: dynamodb.MaxValue,
}

// fakeEngine is the own fake of DynamoDB, which is that of the process that has
// started it.
var fakeEngine = engine{
	env: "LEASE_FAKE",
	start: func(t testing.TB) string {
		_, url := startFake(t, "leases")
		return url
	},
	at:       dynaliteEngine.at,
	open:     dynaliteEngine.open,
	maxValue: dynamodb.MaxValue,
}

func dynamoClient(url string) *awsdynamodb.Client {
	return awsdynamodb.New(awsdynamodb.Options{
		BaseEndpoint: &url,
		Region:       "eu-central-1",
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: "KEY", SecretAccessKey: "secret"}, nil
		}),
	})
}

func dynamoStore(t testing.TB, url string) *dynamodb.Store {
	t.Helper()
	s, err := dynamodb.New(dynamoClient(url), "leases")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// createTable makes the table that table.cfn.yaml makes.
func createTable(t testing.TB, client *awsdynamodb.Client) {
	t.Helper()
	_, err := client.CreateTable(t.Context(), &awsdynamodb.CreateTableInput{
		TableName:            aws.String("leases"),
		AttributeDefinitions: []types.AttributeDefinition{{AttributeName: aws.String("key"), AttributeType: types.ScalarAttributeTypeS}},
		KeySchema:            []types.KeySchemaElement{{AttributeName: aws.String("key"), KeyType: types.KeyTypeHash}},
		BillingMode:          types.BillingModePayPerRequest,
	})
	if err != nil {
		t.Fatal(err)
	}
	for {
		out, err := client.DescribeTable(t.Context(), &awsdynamodb.DescribeTableInput{TableName: aws.String("leases")})
		if err != nil {
			t.Fatal(err)
		}
		if out.Table.TableStatus == types.TableStatusActive {
			return
		}
	}
}

func TestDynalite(t *testing.T) {
	t.Parallel()
	dynaliteEngine.test(t, dynaliteEngine.address(t))
}

func TestDynamoDBFake(t *testing.T) {
	t.Parallel()
	fakeEngine.test(t, fakeEngine.address(t))
}

// TestDynamoDBSetup: a missing table and a missing permission are told with the table,
// the two actions and the role.
func TestDynamoDBSetup(t *testing.T) {
	t.Parallel()
	fake, url := startFake(t, "others")
	s := dynamoStore(t, url)
	_, _, err := s.Get(t.Context(), "x")
	wantMisconfigured(t, err, "table leases", "dynamodb:GetItem", "dynamodb:UpdateItem", "role of the task", "table.cfn.yaml")
	fake.refuse = &refusal{http.StatusBadRequest, "AccessDeniedException",
		"User: arn:aws:sts::123456789012:assumed-role/web-TaskRole-1X/0123 is not authorized to perform: dynamodb:UpdateItem on resource: arn:aws:dynamodb:eu-central-1:123456789012:table/leases", nil}
	_, err = s.Put(t.Context(), "x", nil, 0)
	wantMisconfigured(t, err, "table leases", "dynamodb:GetItem", "dynamodb:UpdateItem", "role web-TaskRole-1X")
	fake.refuse = &refusal{http.StatusBadRequest, "UnrecognizedClientException", "The security token included in the request is invalid.", nil}
	_, err = s.Put(t.Context(), "x", nil, 0)
	wantMisconfigured(t, err, "table leases", "credentials")
	fake.refuse = &refusal{http.StatusBadRequest, "ValidationException", "The provided key element does not match the schema", nil}
	_, err = s.Put(t.Context(), "x", nil, 0)
	wantMisconfigured(t, err, "table leases", "partition key")
	if _, err := dynamodb.New(nil, "leases"); err == nil {
		t.Error("a nil client is taken")
	}
	if _, err := dynamodb.New(dynamoClient(url), ""); err == nil || !strings.Contains(err.Error(), "table") {
		t.Errorf("no name of a table: %v", err)
	}
}

// TestDynamoDBLostReply: a write whose reply is lost is not sent again, as that would
// be a conflict with itself; a write that was throttled is.
func TestDynamoDBLostReply(t *testing.T) {
	t.Parallel()
	fake, url := startFake(t, "leases")
	s := dynamoStore(t, url)
	fake.lose = 1
	if _, err := s.Put(t.Context(), "x", []byte("x"), 0); err == nil || errors.Is(err, lease.ErrConflict) {
		t.Errorf("Put whose reply is lost: %v; want an error that says nothing of it", err)
	}
	if n := fake.asked["UpdateItem"]; n != 1 {
		t.Errorf("it was sent %d times", n)
	}
	fake.refuse = &refusal{http.StatusBadRequest, "ProvisionedThroughputExceededException", "too fast", nil}
	if _, err := s.Put(t.Context(), "y", []byte("x"), 0); err == nil {
		t.Error("Put succeeded at a table that throttles")
	}
	if n := fake.asked["UpdateItem"]; n < 3 {
		t.Errorf("what was throttled was sent %d times", n-1)
	}
}
