// The minimal lesson with franz-go: create a topic, write to it, read it back from an assigned partition.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

func main() {
	bootstrap, topic := os.Args[1], os.Args[2]
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()

	producer, err := kgo.NewClient(kgo.SeedBrokers(bootstrap), kgo.ProducerBatchCompression(kgo.ZstdCompression()))
	check(err)
	defer producer.Close()
	admin := kadm.NewClient(producer)
	_, err = admin.CreateTopic(ctx, 1, 1, nil, topic)
	check(err)

	const count = 1000
	for number := range count {
		record := &kgo.Record{
			Topic:   topic,
			Key:     fmt.Appendf(nil, "key %d", number),
			Value:   fmt.Appendf(nil, "value %d", number),
			Headers: []kgo.RecordHeader{{Key: "number", Value: fmt.Append(nil, number)}},
		}
		producer.Produce(ctx, record, func(_ *kgo.Record, err error) { check(err) })
	}
	check(producer.Flush(ctx))

	consumer, err := kgo.NewClient(
		kgo.SeedBrokers(bootstrap),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().AtStart()}}),
	)
	check(err)
	defer consumer.Close()
	for next := int64(0); next < count; {
		fetches := consumer.PollFetches(ctx)
		check(fetches.Err())
		fetches.EachRecord(func(record *kgo.Record) {
			if record.Offset != next || string(record.Value) != fmt.Sprintf("value %d", next) ||
				string(record.Headers[0].Value) != fmt.Sprint(next) {
				log.Fatalf("record %d came back as %d: %q", next, record.Offset, record.Value)
			}
			next++
		})
	}

	_, err = admin.DeleteTopic(ctx, topic)
	check(err)
	fmt.Println(count, "records written and read")
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
