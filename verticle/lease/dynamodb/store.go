// Package dynamodb keeps leases in a table of Amazon DynamoDB: on ECS the store that
// needs no server and no secret, but the role of the task.
//
//	store, err := dynamodb.Open(ctx, "leases")
//	err = verticle.Run(ctx, eb, lease.Singleton(store, "scheduler", new(Scheduler)))
//
// The table has a partition key of type string that is called "key", and no sort key;
// table.cfn.yaml is it in CloudFormation, with the statement that the role of the task
// needs: two actions, on this one table. Its TTL attribute is "expires", by which
// DynamoDB takes away what is left of deleted keys: a version, which stays a week,
// so that none comes twice. No clock is asked for anything else.
//
// A Put is one UpdateItem under a condition, and a Get one consistent read. The store
// does not watch: who waits for a lease polls ([lease.WithPoll]). A lease of the
// default ttl costs 26,000 writes a day, and each standby 8,640 reads.
//
// The table must not be a global table that is written in several regions: those
// writes are joined later, and the last one wins.
package dynamodb

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/runrig-go/runrig/verticle/lease"
)

// MaxValue is the most bytes that a value may have: what an item of DynamoDB's 400 KB
// takes beside a key of up to 1 KiB and the names of the attributes.
const MaxValue = 400<<10 - 2<<10

// remembered is how long the version of a deleted key is kept.
const remembered = 7 * 24 * time.Hour

// API is what the store needs of a client of DynamoDB: a *dynamodb.Client has it.
type API interface {
	GetItem(context.Context, *dynamodb.GetItemInput, ...func(*dynamodb.Options)) (*dynamodb.GetItemOutput, error)
	UpdateItem(context.Context, *dynamodb.UpdateItemInput, ...func(*dynamodb.Options)) (*dynamodb.UpdateItemOutput, error)
}

// Store is a [lease.Store] in a table.
type Store struct {
	api   API
	table string
}

// Open returns a store in that table, by name or ARN, with the configuration that the
// SDK finds: on ECS the region and the role of the task. The table is not asked yet.
func Open(ctx context.Context, table string) (*Store, error) {
	cfg, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return nil, fmt.Errorf("lease/dynamodb: %w", err)
	}
	return New(dynamodb.NewFromConfig(cfg), table)
}

// New returns a store in that table, by name or ARN. The table is not asked yet.
func New(client API, table string) (*Store, error) {
	switch {
	case client == nil:
		return nil, errors.New("lease/dynamodb: nil client")
	case table == "":
		return nil, errors.New("lease/dynamodb: empty name of a table")
	}
	return &Store{client, table}, nil
}

// Get returns the value of a key and its version, by one consistent read.
func (s *Store) Get(ctx context.Context, key string) ([]byte, uint64, error) {
	out, err := s.api.GetItem(ctx, &dynamodb.GetItemInput{TableName: &s.table, Key: s.key(key), ConsistentRead: aws.Bool(true)})
	if err != nil {
		return nil, 0, s.wrap("get", key, err)
	}
	value, version, err := parse(out.Item)
	return value, version, s.wrap("get", key, err)
}

// The expressions of writes. An item without a value is that of a deleted key.
const (
	setValue    = "SET #version = if_not_exists(#version, :zero) + :one, #value = :value REMOVE #expires"
	removeValue = "SET #expires = :expires REMOVE #value"
	isAbsent    = "attribute_not_exists(#value)"
	isVersion   = "#version = :old AND attribute_exists(#value)"
)

// Put sets the value of a key whose version is old, by one write.
func (s *Store) Put(ctx context.Context, key string, value []byte, old uint64) (uint64, error) {
	if len(value) > MaxValue {
		return 0, s.wrap("put", key, fmt.Errorf("%w: the value has %d bytes; DynamoDB's limit leaves %d", lease.ErrMisconfigured, len(value), MaxValue))
	}
	if value == nil {
		value = []byte{}
	}
	in := s.update(key, old, setValue)
	in.ExpressionAttributeNames["#expires"] = "expires"
	in.ExpressionAttributeValues[":value"] = &types.AttributeValueMemberB{Value: value}
	in.ExpressionAttributeValues[":zero"] = number(0)
	in.ExpressionAttributeValues[":one"] = number(1)
	out, err := s.api.UpdateItem(ctx, in, onceUnlessThrottled)
	if err != nil {
		return 0, s.wrap("put", key, conflict(key, err))
	}
	version, err := parseVersion(out.Attributes)
	return version, s.wrap("put", key, err)
}

// Delete makes a key absent whose version is old, by one write.
func (s *Store) Delete(ctx context.Context, key string, old uint64) error {
	in := s.update(key, old, removeValue)
	in.ExpressionAttributeNames["#expires"] = "expires"
	in.ExpressionAttributeValues[":expires"] = number(uint64(time.Now().Add(remembered).Unix()))
	_, err := s.api.UpdateItem(ctx, in, onceUnlessThrottled)
	return s.wrap("delete", key, conflict(key, err))
}

// update is a write under the condition that the key has that version.
func (s *Store) update(key string, old uint64, expression string) *dynamodb.UpdateItemInput {
	in := &dynamodb.UpdateItemInput{
		TableName:                           &s.table,
		Key:                                 s.key(key),
		UpdateExpression:                    &expression,
		ConditionExpression:                 aws.String(isAbsent),
		ExpressionAttributeNames:            map[string]string{"#value": "value"},
		ExpressionAttributeValues:           map[string]types.AttributeValue{},
		ReturnValues:                        types.ReturnValueUpdatedNew,
		ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
	}
	if old > 0 {
		in.ConditionExpression = aws.String(isVersion)
		in.ExpressionAttributeValues[":old"] = number(old)
	}
	if old > 0 || expression == setValue {
		in.ExpressionAttributeNames["#version"] = "version" // what is named must be used
	}
	return in
}

func (s *Store) key(key string) map[string]types.AttributeValue {
	return map[string]types.AttributeValue{"key": &types.AttributeValueMemberS{Value: key}}
}

func number(n uint64) types.AttributeValue {
	return &types.AttributeValueMemberN{Value: strconv.FormatUint(n, 10)}
}

// parse reads an item. One without a value, or none, is absent.
func parse(item map[string]types.AttributeValue) ([]byte, uint64, error) {
	value, ok := item["value"].(*types.AttributeValueMemberB)
	if !ok {
		return nil, 0, nil
	}
	version, err := parseVersion(item)
	return value.Value, version, err
}

func parseVersion(item map[string]types.AttributeValue) (uint64, error) {
	text, _ := item["version"].(*types.AttributeValueMemberN)
	if text != nil {
		if n, err := strconv.ParseUint(text.Value, 10, 64); err == nil && n > 0 {
			return n, nil
		}
	}
	return 0, fmt.Errorf("%w: its item has no version, and so is not this package's", lease.ErrMisconfigured)
}

// conflict is the error of a write, which is the store's word for it if the condition
// was not met.
func conflict(key string, err error) error {
	var failed *types.ConditionalCheckFailedException
	if !errors.As(err, &failed) {
		return err
	}
	value, version, perr := parse(failed.Item)
	if perr != nil || len(failed.Item) == 0 { // an emulator may not tell
		return fmt.Errorf("%w: %w", lease.ErrConflict, err)
	}
	return &lease.Conflict{Key: key, Value: value, Version: version}
}

// onceUnlessThrottled keeps the SDK from sending a write again that may have been
// done: its condition would then fail, as if somebody else had written.
func onceUnlessThrottled(o *dynamodb.Options) { o.Retryer = unlessThrottled }

var unlessThrottled = retry.NewStandard(func(r *retry.StandardOptions) {
	r.Retryables = []retry.IsErrorRetryable{retry.RetryableErrorCode{Codes: retry.DefaultThrottleErrorCodes}}
})
