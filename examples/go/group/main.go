// The lesson on consumer groups with franz-go: two members share a topic, one leaves, a third takes over.
// Groups are classic, or of the new protocol (KIP-848) if a third argument says consumer.
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

const partitions = 4

func main() {
	bootstrap, topic := os.Args[1], os.Args[2]
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()

	producer, err := kgo.NewClient(kgo.SeedBrokers(bootstrap), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	check(err)
	defer producer.Close()
	admin := kadm.NewClient(producer)
	created, err := admin.CreateTopic(ctx, partitions, 1, nil, topic)
	check(err)
	check(created.Err)

	group := "group-of-" + topic
	first, second := join(bootstrap, topic, group), join(bootstrap, topic, group)
	untilHeld(ctx, map[*member]int{first: 2, second: 2})

	write(ctx, producer, topic, 0, 400)
	if read := readAll(ctx, 400, first, second); len(read) != 400 {
		log.Fatalf("400 records written, %d different ones read", len(read))
	}

	// Who leaves commits, and hands its partitions over at once.
	check(second.client.CommitUncommittedOffsets(ctx))
	second.client.LeaveGroup()
	second.client.Close()
	untilHeld(ctx, map[*member]int{first: partitions})
	check(first.client.CommitUncommittedOffsets(ctx))
	first.client.Close()

	committed, err := admin.FetchOffsets(ctx, group)
	check(err)
	for partition := range int32(partitions) {
		if at, ok := committed.Lookup(topic, partition); !ok || at.At != 100 {
			log.Fatalf("partition %d: committed %d instead of 100", partition, at.At)
		}
	}

	// A new member begins where the others stopped.
	write(ctx, producer, topic, 400, 40)
	third := join(bootstrap, topic, group)
	read := readAll(ctx, 40, third)
	for value := range read {
		var number int
		if _, err := fmt.Sscan(value, &number); err != nil || number < 400 {
			log.Fatalf("%q was read twice", value)
		}
	}
	third.client.Close()

	deleted, err := admin.DeleteGroups(ctx, group)
	check(err)
	check(deleted.Error())
	_, err = admin.DeleteTopic(ctx, topic)
	check(err)
	fmt.Println("440 records shared by 3 members")
}

// A member of a group, and how many partitions it holds.
type member struct {
	client *kgo.Client
	held   chan int
	now    int
}

func join(bootstrap, topic, group string) *member {
	m := &member{held: make(chan int, 100)}
	held := 0
	count := func(sign int) func(context.Context, *kgo.Client, map[string][]int32) {
		return func(_ context.Context, _ *kgo.Client, changed map[string][]int32) {
			held += sign * len(changed[topic])
			m.held <- held
		}
	}
	options := []kgo.Opt{
		kgo.SeedBrokers(bootstrap),
		kgo.ConsumerGroup(group),
		kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.HeartbeatInterval(300*time.Millisecond),
		kgo.DisableAutoCommit(),
		kgo.OnPartitionsAssigned(count(1)),
		kgo.OnPartitionsRevoked(count(-1)),
	}
	if len(os.Args) > 3 && os.Args[3] == "consumer" {
		options = append(options, kgo.ServerSideBalancer(), kgo.Balancers(kgo.StickyBalancer()))
	}
	client, err := kgo.NewClient(options...)
	check(err)
	m.client = client
	return m
}

// untilHeld waits until each member holds as many partitions as it should.
func untilHeld(ctx context.Context, wanted map[*member]int) {
	for m, count := range wanted {
		for m.now != count {
			select {
			case m.now = <-m.held:
			case <-ctx.Done():
				log.Fatalf("a member holds %d partitions instead of %d", m.now, count)
			}
		}
	}
}

func write(ctx context.Context, producer *kgo.Client, topic string, from, count int) {
	for number := from; number < from+count; number++ {
		record := &kgo.Record{Topic: topic, Partition: int32(number % partitions), Value: fmt.Append(nil, number)}
		producer.Produce(ctx, record, func(_ *kgo.Record, err error) { check(err) })
	}
	check(producer.Flush(ctx))
}

// readAll reads until the members together have `count` different values.
func readAll(ctx context.Context, count int, members ...*member) map[string]bool {
	values := map[string]bool{}
	for len(values) < count {
		for _, m := range members {
			wait, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
			fetches := m.client.PollFetches(wait)
			cancel()
			check(ctx.Err())
			fetches.EachRecord(func(record *kgo.Record) { values[string(record.Value)] = true })
		}
	}
	return values
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
