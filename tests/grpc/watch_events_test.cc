// SPDX-License-Identifier: Apache-2.0
// WatchEvents: in order, cut and gone on with, and what a watcher that is late is told.
#include <gmock/gmock.h>

#include "grpc/event_ring.h"
#include "tests/grpc/served.h"

namespace sipheal {
namespace {

using internal::EventRing;
using tests::Finished;
using tests::Step;

class WatchEventsTest : public tests::ServedTest {
 protected:
  // One stream, read message by message.
  struct Stream {
    std::unique_ptr<grpc::ClientContext> context;
    std::unique_ptr<grpc::ClientReader<v1::WatchEventsResponse>> reader;
    v1::WatchEventsResponse last;

    // The next message in a word: "started", "gap 2", "step s1", "outcome s1", "end".
    std::string Next() {
      if (!reader->Read(&last)) return "end";
      if (last.has_started()) return "started";
      if (last.has_gap()) return "gap " + std::to_string(last.gap().cause());
      if (last.has_step()) return "step " + last.step().session_id();
      if (last.has_outcome()) return "outcome " + last.outcome().session_id();
      if (last.has_crash()) return "crash " + last.crash().incarnation().instance();
      if (last.has_done()) return "done " + std::to_string(last.done().sessions());
      if (last.has_returned()) return "returned " + last.returned().instance();
      return "nothing";
    }
  };

  Stream Watch(const std::string& cursor = "", bool with_steps = false) {
    Stream stream;
    stream.context = Call();
    v1::WatchEventsRequest request;
    request.set_cursor(cursor);
    request.set_with_steps(with_steps);
    stream.reader = recovery_->WatchEvents(stream.context.get(), request);
    return stream;
  }
};

TEST_F(WatchEventsTest, EventsComeInOrderWithWhatIsInThem) {
  Serve();
  Stream stream = Watch("", true);
  ASSERT_EQ(stream.Next(), "started");
  RecoveryEvent crash;
  crash.kind = RecoveryEvent::Kind::kCrash;
  crash.crash.incarnation = {"a", "1"};
  crash.crash.kind = CrashKind::kSilent;
  crash.crash.evidence = {"it said \xff"};
  server_->Publish(crash);
  server_->Publish(Step("s1", RecoveryStage::kInviting));
  server_->Publish(Finished("s1"));
  RecoveryEvent done = crash;
  done.kind = RecoveryEvent::Kind::kDone;
  done.sessions = 7;
  done.outcomes = {{Outcome::kRecovered, 6}, {Outcome::kEnded, 1}};
  server_->Publish(done);
  RecoveryEvent returned;
  returned.kind = RecoveryEvent::Kind::kReturned;
  returned.incarnation = {"a", "1"};
  server_->Publish(returned);
  EXPECT_EQ(stream.Next(), "crash a");
  EXPECT_EQ(stream.last.crash().kind(), "silent");
  EXPECT_EQ(stream.last.crash().evidence(0), "it said \xef\xbf\xbd");
  EXPECT_EQ(stream.Next(), "step s1");
  EXPECT_EQ(stream.last.step().stage(), v1::RECOVERY_STAGE_INVITING);
  EXPECT_EQ(stream.Next(), "outcome s1");
  EXPECT_EQ(stream.last.outcome().outcome(), v1::OUTCOME_RECOVERED);
  EXPECT_EQ(stream.Next(), "done 7");
  EXPECT_EQ(stream.last.done().outcomes(0).sessions(), 6u);
  EXPECT_EQ(stream.Next(), "returned a");
}

TEST_F(WatchEventsTest, AStreamThatWasCutGoesOnWhereItWas) {
  Serve();
  Stream first = Watch();
  ASSERT_EQ(first.Next(), "started");
  server_->Publish(Finished("s1"));
  server_->Publish(Step("s2", RecoveryStage::kClaimed));
  server_->Publish(Finished("s2"));
  ASSERT_EQ(first.Next(), "outcome s1");
  const std::string cursor = first.last.cursor();
  first.context->TryCancel();
  server_->Publish(Finished("s3"));
  Stream second = Watch(cursor);
  EXPECT_EQ(second.Next(), "started");
  EXPECT_EQ(second.Next(), "outcome s2");
  EXPECT_EQ(second.Next(), "outcome s3");
  // Also from a cursor of `started`, and with the steps that were left out before.
  Stream third = Watch(cursor, true);
  EXPECT_EQ(third.Next(), "started");
  EXPECT_EQ(third.last.cursor(), cursor);
  EXPECT_EQ(third.Next(), "step s2");
  EXPECT_EQ(third.Next(), "outcome s2");
}

TEST_F(WatchEventsTest, WithoutACursorItBeginsWithWhatHappensNext) {
  Serve();
  server_->Publish(Finished("before"));
  Stream stream = Watch();
  ASSERT_EQ(stream.Next(), "started");
  server_->Publish(Finished("after"));
  EXPECT_EQ(stream.Next(), "outcome after");
}

TEST_F(WatchEventsTest, ACursorThatIsTooOldGivesAGap) {
  Serve([](GrpcServerOptions& options) { options.keep_events = 100; });
  Stream first = Watch();
  ASSERT_EQ(first.Next(), "started");
  const std::string old = first.last.cursor();
  first.context->TryCancel();
  for (int i = 0; i < 150; ++i) server_->Publish(Finished("s" + std::to_string(i)));
  Stream second = Watch(old);
  EXPECT_EQ(second.Next(), "started");
  EXPECT_EQ(second.Next(), "gap 1");
  EXPECT_EQ(second.Next(), "outcome s50");
  EXPECT_EQ(second.Next(), "outcome s51");
}

TEST_F(WatchEventsTest, StepsPushNoOutcomeOut) {
  Serve([](GrpcServerOptions& options) { options.keep_events = 100; });
  Stream first = Watch();
  ASSERT_EQ(first.Next(), "started");
  const std::string cursor = first.last.cursor();
  server_->Publish(Finished("s1"));
  for (int i = 0; i < 150; ++i) server_->Publish(Step("many", RecoveryStage::kClaimed));
  server_->Publish(Finished("s2"));
  Stream without = Watch(cursor);
  EXPECT_EQ(without.Next(), "started");
  EXPECT_EQ(without.Next(), "outcome s1");
  EXPECT_EQ(without.Next(), "outcome s2");
  // One gap for those who wanted the steps; the outcomes are there all the same.
  Stream with = Watch(cursor, true);
  EXPECT_EQ(with.Next(), "started");
  EXPECT_EQ(with.Next(), "gap 1");
  EXPECT_EQ(with.Next(), "outcome s1");
  for (int i = 0; i < 100; ++i) ASSERT_EQ(with.Next(), "step many");
  EXPECT_EQ(with.Next(), "outcome s2");
}

TEST_F(WatchEventsTest, ACursorOfAnotherRunGivesAGap) {
  Serve();
  Stream first = Watch();
  ASSERT_EQ(first.Next(), "started");
  server_->Publish(Finished("s1"));
  ASSERT_EQ(first.Next(), "outcome s1");
  const std::string cursor = first.last.cursor();
  server_->Stop();
  EXPECT_EQ(first.Next(), "end");
  EXPECT_EQ(first.reader->Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
  Serve();
  server_->Publish(Finished("s2"));
  Stream second = Watch(cursor);
  EXPECT_EQ(second.Next(), "started");
  EXPECT_EQ(second.Next(), "gap 2");
  EXPECT_EQ(second.Next(), "outcome s2");
}

TEST_F(WatchEventsTest, ACursorThatNobodyMadeIsRefused) {
  Serve();
  Stream first = Watch();
  ASSERT_EQ(first.Next(), "started");
  const std::string good = first.last.cursor();
  for (const std::string& cursor :
       {std::string("x"), std::string("-"), good + "x", good.substr(0, good.size() - 1),
        good + "999", std::string("0-99999999999999999999999"), std::string(10'000, '-')}) {
    Stream stream = Watch(cursor);
    EXPECT_EQ(stream.Next(), "end") << cursor;
    EXPECT_EQ(stream.reader->Finish().error_code(), grpc::StatusCode::INVALID_ARGUMENT) << cursor;
  }
}

TEST_F(WatchEventsTest, AWatcherThatDoesNotReadIsToldAndCostsNothing) {
  Serve([](GrpcServerOptions& options) { options.keep_events = 100; });
  Stream slow = Watch();
  ASSERT_EQ(slow.Next(), "started");
  // Far more than gRPC and the socket take in: each has 2 KiB.
  RecoveryEvent event = Finished("s");
  event.recovery.reason = std::string(2'000, 'x');
  for (int i = 0; i < 20'000; ++i) {
    event.recovery.session.id = std::to_string(i);
    server_->Publish(event);
  }
  int seen = 0;
  int gaps = 0;
  while (slow.last.outcome().session_id() != "19999") {
    const std::string next = slow.Next();
    ASSERT_NE(next, "end");
    if (next == "gap 3") {
      ++gaps;
    } else {
      ++seen;
    }
  }
  EXPECT_GE(gaps, 1);
  EXPECT_LT(seen, 20'000);
}

TEST_F(WatchEventsTest, MoreWatchersThanAllowedAreTurnedAway) {
  Serve([](GrpcServerOptions& options) { options.max_watchers = 2; });
  std::vector<Stream> watchers;
  for (int i = 0; i < 2; ++i) {
    watchers.push_back(Watch());
    ASSERT_EQ(watchers.back().Next(), "started");
  }
  Stream third = Watch();
  EXPECT_EQ(third.Next(), "end");
  EXPECT_EQ(third.reader->Finish().error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  // One that goes gives its place to another.
  watchers[0].context->TryCancel();
  EXPECT_EQ(watchers[0].reader->Finish().error_code(), grpc::StatusCode::CANCELLED);
  std::string got;
  while (got != "started") {
    Stream again = Watch();
    got = again.Next();
    ASSERT_TRUE(got == "started" || got == "end");
  }
}

TEST(EventRing, KeepsTheNewestOfEachKind) {
  EventRing ring(2, "run");
  v1::WatchEventsResponse outcome;
  outcome.mutable_outcome();
  v1::WatchEventsResponse step;
  step.mutable_step();
  for (int i = 0; i < 3; ++i) ring.Append(step);
  ring.Append(outcome);  // number 4
  EXPECT_EQ(ring.After(0, false).number, 4u);
  EXPECT_EQ(ring.After(0, false).dropped, 0u);
  EXPECT_EQ(ring.After(0, true).number, 2u);
  EXPECT_EQ(ring.After(0, true).dropped, 1u);
  EXPECT_EQ(ring.After(4, true).event, nullptr);
  EXPECT_EQ(ring.After(3, true).event->cursor(), "run-4");
}

}  // namespace
}  // namespace sipheal
