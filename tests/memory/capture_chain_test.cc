// SPDX-License-Identifier: Apache-2.0
// Several captures as one, with members that fail, hang, throw, and answer what nobody asked.
#include "sipheal/capture_chain.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <condition_variable>
#include <functional>
#include <future>
#include <mutex>
#include <stdexcept>

#include "absl/strings/str_format.h"
#include "sipheal/adapters/memory.h"
#include "sipheal/conformance/gtest.h"
#include "sipheal/sip/verdict.h"
#include "tests/support/captured_dialog.h"

namespace sipheal {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using Answer = absl::StatusOr<std::vector<DialogCapture>>;
using Enough = CaptureChainOptions::Enough;

// Does what the test says, and keeps what it was asked for.
class ScriptedCapture final : public SipCapture {
 public:
  using Script = std::function<Answer(const CallContext&, const FetchParams&)>;
  explicit ScriptedCapture(Script script) : script_(std::move(script)) {}

  Answer Fetch(const CallContext& ctx, const FetchParams& params) override {
    {
      const std::lock_guard lock(mutex_);
      asked_.push_back(params.call_ids);
    }
    return script_(ctx, params);
  }

  std::vector<std::vector<std::string>> asked() const {
    const std::lock_guard lock(mutex_);
    return asked_;
  }

 private:
  const Script script_;
  mutable std::mutex mutex_;
  std::vector<std::vector<std::string>> asked_;
};

DialogCapture Known(const std::string& call_id) {
  DialogCapture capture;
  capture.call_id = call_id;
  capture.completeness = Completeness::kBestEffort;
  capture.dialogs.push_back(tests::CapturedDialog(call_id));
  return capture;
}

// One whose route set was not captured.
DialogCapture Partial(const std::string& call_id) {
  DialogCapture capture = Known(call_id);
  capture.dialogs[0].route_set.clear();
  capture.dialogs[0].missing = {sip::Field::kRouteSet};
  return capture;
}

DialogCapture Missing(const std::string& call_id) {
  DialogCapture capture;
  capture.call_id = call_id;
  return capture;
}

std::shared_ptr<ScriptedCapture> Gives(std::function<DialogCapture(const std::string&)> one) {
  return std::make_shared<ScriptedCapture>(
      [one](const CallContext&, const SipCapture::FetchParams& params) -> Answer {
        std::vector<DialogCapture> captures;
        for (const std::string& call_id : params.call_ids) captures.push_back(one(call_id));
        return captures;
      });
}

std::shared_ptr<ScriptedCapture> Fails(absl::Status status) {
  return std::make_shared<ScriptedCapture>(
      [status](const CallContext&, const SipCapture::FetchParams&) -> Answer { return status; });
}

// Breaks its contract: takes no notice of deadline and stop. Let go before the executor ends.
class Hanging {
 public:
  std::shared_ptr<ScriptedCapture> capture() {
    return std::make_shared<ScriptedCapture>(
        [released = released_](const CallContext&, const SipCapture::FetchParams&) -> Answer {
          released.wait();
          return absl::UnavailableError("let go");
        });
  }
  ~Hanging() { release_.set_value(); }

 private:
  std::promise<void> release_;
  std::shared_future<void> released_ = release_.get_future().share();
};

// Waits for its deadline or for the stop, as the contract says.
std::shared_ptr<ScriptedCapture> Waits() {
  return std::make_shared<ScriptedCapture>(
      [](const CallContext& ctx, const SipCapture::FetchParams&) -> Answer {
        std::mutex mutex;
        std::condition_variable_any changed;
        std::unique_lock lock(mutex);
        changed.wait_until(lock, ctx.stop, ctx.deadline, [] { return false; });
        if (ctx.stop.stop_requested()) return absl::CancelledError("stopped");
        return absl::DeadlineExceededError("too late");
      });
}

struct ChainOf {
  std::vector<std::shared_ptr<SipCapture>> members;
  std::shared_ptr<Executor> executor;
  Enough enough = Enough::kUsable;
  milliseconds hedge{0};
  milliseconds timeout{2000};

  std::shared_ptr<SipCapture> Make() const {
    CaptureChainOptions options;
    for (const auto& member : members) {
      options.members.push_back({.name = absl::StrFormat("m%d", options.members.size() + 1),
                                 .capture = member,
                                 .timeout = timeout});
    }
    options.executor = executor;
    options.enough = enough;
    options.hedge = hedge;
    auto chain = MakeCaptureChain(std::move(options));
    return chain.ok() ? *chain : nullptr;
  }
};

Answer FetchOf(SipCapture& chain, std::vector<std::string> call_ids,
               const CallContext& ctx = CallContext::WithTimeout(seconds(20))) {
  return chain.Fetch(ctx, {.call_ids = std::move(call_ids), .instance = "ast-1"});
}

bool IsKnown(const DialogCapture& capture) {
  return capture.status.ok() && capture.dialogs.size() == 1 &&
         sip::Judge(capture.dialogs[0]).recoverable();
}

// Both ways to ask: one behind the other, and side by side.
class CaptureChain : public ::testing::TestWithParam<bool> {
 protected:
  std::shared_ptr<Executor> executor() const { return GetParam() ? MakeThreadPool(4) : nullptr; }
};
INSTANTIATE_TEST_SUITE_P(Ways, CaptureChain, ::testing::Bool(),
                         [](const auto& way) { return way.param ? "SideBySide" : "InTurn"; });

TEST_P(CaptureChain, AsksTheNextOnlyForWhatIsNotKnownWellEnough) {
  const auto first = Gives([](const std::string& id) {
    return id == "known" ? Known(id) : id == "partial" ? Partial(id) : Missing(id);
  });
  const auto second = Gives(Known);
  const auto chain =
      ChainOf{.members = {first, second}, .executor = executor(), .hedge = seconds(60)}.Make();
  const auto got = FetchOf(*chain, {"never", "known", "partial", "known"});
  ASSERT_TRUE(got.ok()) << got.status();
  ASSERT_THAT(*got, SizeIs(4));
  for (const DialogCapture& capture : *got) EXPECT_TRUE(IsKnown(capture)) << capture.call_id;
  EXPECT_EQ((*got)[0].call_id, "never");
  EXPECT_THAT(first->asked(), ElementsAre(ElementsAre("never", "known", "partial")));
  EXPECT_THAT(second->asked(), ElementsAre(ElementsAre("never", "partial")));
}

TEST_P(CaptureChain, AsksNobodyElseWhenTheFirstIsEnough) {
  const auto second = Gives(Known);
  const auto chain =
      ChainOf{.members = {Gives(Known), second}, .executor = executor(), .hedge = seconds(60)}
          .Make();
  ASSERT_TRUE(FetchOf(*chain, {"a", "b"}).ok());
  EXPECT_THAT(second->asked(), IsEmpty());
}

TEST_P(CaptureChain, OneThatFailsHoldsUpNoOther) {
  for (const absl::Status& status :
       {absl::UnavailableError("down"), absl::InternalError("broken"), absl::NotFoundError("?")}) {
    const auto chain =
        ChainOf{.members = {Fails(status), Gives(Known)}, .executor = executor()}.Make();
    const auto got = FetchOf(*chain, {"a"});
    ASSERT_TRUE(got.ok()) << got.status();
    EXPECT_TRUE(IsKnown((*got)[0]));
  }
}

TEST_P(CaptureChain, OneThatThrowsHoldsUpNoOther) {
  const auto throwing = std::make_shared<ScriptedCapture>(
      [](const CallContext&, const SipCapture::FetchParams&) -> Answer {
        throw std::runtime_error("boom");
      });
  const auto odd = std::make_shared<ScriptedCapture>(
      [](const CallContext&, const SipCapture::FetchParams&) -> Answer { throw 7; });
  const auto chain =
      ChainOf{.members = {throwing, odd, Gives(Known)}, .executor = executor()}.Make();
  const auto got = FetchOf(*chain, {"a"});
  ASSERT_TRUE(got.ok()) << got.status();
  EXPECT_TRUE(IsKnown((*got)[0]));

  const auto alone = ChainOf{.members = {throwing}, .executor = executor()}.Make();
  const auto none = FetchOf(*alone, {"a"});
  EXPECT_EQ(none.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(none.status().message(), HasSubstr("boom"));
}

TEST_P(CaptureChain, OneThatWaitsForItsDeadlineLeavesTimeForTheOthers) {
  const auto chain =
      ChainOf{.members = {Waits(), Gives(Known)}, .executor = executor(), .timeout = seconds(60)}
          .Make();
  const auto got = FetchOf(*chain, {"a"}, CallContext::WithTimeout(milliseconds(400)));
  ASSERT_TRUE(got.ok()) << got.status();
  EXPECT_TRUE(IsKnown((*got)[0]));
}

// A member that disregards its contract costs its thread, not the caller.
TEST(CaptureChainThreads, OneThatHangsCostsAThreadAndNotTheCaller) {
  for (const Enough enough : {Enough::kUsable, Enough::kEveryone}) {
    const auto executor = MakeThreadPool(2);  // its end waits for the hanging one to be let go
    Hanging hanging;
    const auto chain = ChainOf{.members = {hanging.capture(), Gives(Known)},
                               .executor = executor,
                               .enough = enough,
                               .timeout = milliseconds(50)}
                           .Make();
    const auto got = FetchOf(*chain, {"a", "b"});
    ASSERT_TRUE(got.ok()) << got.status();
    for (const DialogCapture& capture : *got) EXPECT_TRUE(IsKnown(capture));
  }
}

TEST(CaptureChainThreads, TheStopOfTheCallerReachesAllMembers) {
  const auto executor = MakeThreadPool(2);
  const auto chain =
      ChainOf{.members = {Waits(), Waits()}, .executor = executor, .timeout = seconds(60)}.Make();
  std::stop_source stop;
  CallContext ctx;
  ctx.stop = stop.get_token();
  auto fetched = std::async(std::launch::async, [&] { return FetchOf(*chain, {"a"}, ctx); });
  stop.request_stop();
  EXPECT_EQ(fetched.get().status().code(), absl::StatusCode::kCancelled);
}

TEST_P(CaptureChain, AnAnswerForOtherCallIdsIsNoAnswer) {
  const auto strange = std::make_shared<ScriptedCapture>(
      [](const CallContext&, const SipCapture::FetchParams&) -> Answer {
        DialogCapture mislabelled = Known("other");
        mislabelled.call_id = "a";  // a dialog of another Call-ID
        sip::CapturedMessage message;
        message.bytes =
            "BYE sip:x@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK1\r\n"
            "From: <sip:a@b>;tag=1\r\nTo: <sip:c@d>;tag=2\r\nCall-ID: other\r\n"
            "CSeq: 1 BYE\r\nContent-Length: 0\r\n\r\n";
        mislabelled.messages.push_back(message);
        return std::vector<DialogCapture>{Known("other"), mislabelled, Known("another")};
      });
  const auto chain = ChainOf{.members = {strange}, .executor = executor()}.Make();
  const auto got = FetchOf(*chain, {"a", "b"});
  ASSERT_TRUE(got.ok()) << got.status();
  ASSERT_THAT(*got, SizeIs(2));
  for (const DialogCapture& capture : *got) {
    EXPECT_EQ(capture.completeness, Completeness::kMissing);
    EXPECT_THAT(capture.dialogs, IsEmpty());
    EXPECT_THAT(capture.messages, IsEmpty());
  }
  EXPECT_TRUE((*got)[0].status.ok());  // it was asked for, and answered
  EXPECT_EQ((*got)[1].status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT((*got)[1].status.message(), HasSubstr("m1"));
}

TEST_P(CaptureChain, AnswersOutOfOrderAndRepeatedAreSorted) {
  const auto shuffled = std::make_shared<ScriptedCapture>(
      [](const CallContext&, const SipCapture::FetchParams& params) -> Answer {
        std::vector<DialogCapture> captures;
        for (const std::string& call_id : params.call_ids) captures.push_back(Known(call_id));
        std::reverse(captures.begin(), captures.end());
        captures.push_back(captures.front());
        return captures;
      });
  const auto chain = ChainOf{.members = {shuffled}, .executor = executor()}.Make();
  const auto got = FetchOf(*chain, {"a", "b", "c"});
  ASSERT_TRUE(got.ok()) << got.status();
  ASSERT_THAT(*got, SizeIs(3));
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ((*got)[i].call_id, std::string(1, static_cast<char>('a' + i)));
    EXPECT_TRUE(IsKnown((*got)[i]));
  }
}

// Never kMissing without a word: a source that is down may know the call.
TEST_P(CaptureChain, WhatOnlyTheSilentOneMayKnowIsMarkedAndTheRestIsGiven) {
  const auto first =
      Gives([](const std::string& id) { return id == "known" ? Known(id) : Missing(id); });
  const auto chain = ChainOf{.members = {first, Fails(absl::UnavailableError("HOMER is down"))},
                             .executor = executor()}
                         .Make();
  const auto got = FetchOf(*chain, {"known", "unknown"});
  ASSERT_TRUE(got.ok()) << got.status();
  EXPECT_TRUE(IsKnown((*got)[0]));
  EXPECT_EQ((*got)[1].status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT((*got)[1].status.message(), HasSubstr("HOMER is down"));
}

TEST_P(CaptureChain, F10_AnEndThatAnyOfThemSawIsTheEnd) {
  const auto ended = Gives([](const std::string& id) {
    DialogCapture capture = Known(id);
    capture.dialogs[0].phase = sip::DialogPhase::kTerminated;
    capture.dialogs[0].end = sip::DialogEnd::kByeAnswered;
    return capture;
  });
  for (const bool ended_first : {false, true}) {
    const auto chain =
        ChainOf{.members = {ended_first ? ended : Gives(Known), ended_first ? Gives(Known) : ended},
                .executor = executor(),
                .enough = Enough::kEveryone}
            .Make();
    const auto got = FetchOf(*chain, {"a"});
    ASSERT_TRUE(got.ok()) << got.status();
    ASSERT_THAT((*got)[0].dialogs, SizeIs(1));
    EXPECT_EQ(sip::Judge((*got)[0].dialogs[0]).token, sip::VerdictToken::kEnded);
  }
}

TEST_P(CaptureChain, MessagesAreAUnionAndKeepTheirBytes) {
  sip::CapturedMessage one;
  one.bytes = "one";
  one.time = sip::CaptureTime(seconds(1));
  one.agent = "agent";
  one.sequence = 5;
  sip::CapturedMessage again = one;
  again.sequence = 77;
  sip::CapturedMessage two = one;
  two.bytes = "two";
  const auto gives = [](std::vector<sip::CapturedMessage> messages) {
    return Gives([messages](const std::string& id) {
      DialogCapture capture;
      capture.call_id = id;
      capture.completeness = Completeness::kBestEffort;
      capture.messages = messages;
      return capture;
    });
  };
  const auto chain =
      ChainOf{.members = {gives({one}), gives({again, two})}, .executor = executor()}.Make();
  const auto got = FetchOf(*chain, {"a"});
  ASSERT_TRUE(got.ok()) << got.status();
  const auto& messages = (*got)[0].messages;
  ASSERT_THAT(messages, SizeIs(2));
  const auto found = [&](const std::string& bytes) {
    return std::count_if(messages.begin(), messages.end(),
                         [&](const auto& message) { return message.bytes == bytes; });
  };
  EXPECT_EQ(found("one"), 1);
  EXPECT_EQ(found("two"), 1);
  EXPECT_EQ((*got)[0].completeness, Completeness::kBestEffort);
}

TEST_P(CaptureChain, CompletenessIsThatOfTheBest) {
  const auto complete = Gives([](const std::string& id) {
    DialogCapture capture = Known(id);
    capture.completeness = Completeness::kOwnInterface;
    return capture;
  });
  const auto chain = ChainOf{.members = {Gives(Partial), complete}, .executor = executor()}.Make();
  const auto got = FetchOf(*chain, {"a"});
  ASSERT_TRUE(got.ok()) << got.status();
  EXPECT_EQ((*got)[0].completeness, Completeness::kOwnInterface);
  EXPECT_TRUE(IsKnown((*got)[0]));
}

TEST(CaptureChainOptions, NamesWhatIsWrong) {
  const auto wrong = [](const std::function<void(CaptureChainOptions&)>& change) {
    CaptureChainOptions options;
    options.members.push_back({.name = "a", .capture = MakeMemorySipCapture()});
    change(options);
    return std::string(options.Validate().message());
  };
  EXPECT_EQ(wrong([](CaptureChainOptions&) {}), "");
  EXPECT_THAT(wrong([](auto& o) { o.members.clear(); }), HasSubstr("members has 0 entries"));
  EXPECT_THAT(wrong([](auto& o) { o.members[0].capture = nullptr; }), HasSubstr("is null"));
  EXPECT_THAT(wrong([](auto& o) { o.members.push_back(o.members[0]); }), HasSubstr("'a' twice"));
  EXPECT_THAT(wrong([](auto& o) { o.members[0].name = ""; }), HasSubstr("(empty)"));
  EXPECT_THAT(wrong([](auto& o) { o.members[0].timeout = milliseconds(0); }), HasSubstr("timeout"));
  EXPECT_THAT(wrong([](auto& o) { o.hedge = milliseconds(-1); }), HasSubstr("hedge"));
}

// --- the contract, on a chain of two ---

// In front of a memory capture: does not answer while it is told not to.
class Gate final : public SipCapture {
 public:
  explicit Gate(std::shared_ptr<MemorySipCapture> behind) : behind_(std::move(behind)) {}

  Answer Fetch(const CallContext& ctx, const FetchParams& params) override {
    std::unique_lock lock(mutex_);
    if (!open_.wait_until(lock, ctx.stop, ctx.deadline, [this] { return !closed_; })) {
      if (ctx.stop.stop_requested()) return absl::CancelledError("stopped");
      return absl::DeadlineExceededError("too late");
    }
    lock.unlock();
    return behind_->Fetch(ctx, params);
  }
  void Close(bool closed) {
    const std::lock_guard lock(mutex_);
    closed_ = closed;
    open_.notify_all();
  }

 private:
  const std::shared_ptr<MemorySipCapture> behind_;
  std::mutex mutex_;
  std::condition_variable_any open_;
  bool closed_ = false;
};

class ChainHarness final : public conformance::SipCaptureHarness {
 public:
  explicit ChainHarness(bool side_by_side) : side_by_side_(side_by_side) {}

  absl::StatusOr<std::shared_ptr<SipCapture>> Make() override {
    return ChainOf{.members = {gates_[0], gates_[1]},
                   .executor = side_by_side_ ? MakeThreadPool(8) : nullptr}
        .Make();
  }
  // Each of the two has half of the messages.
  absl::Status Feed(const std::string& call_id, const sip::CapturedMessage& message) override {
    memories_[fed_++ % 2]->AddMessage(call_id, message);
    return absl::OkStatus();
  }
  absl::Status BreakConnection() override { return SetError(absl::UnavailableError("broken")); }
  absl::Status HealConnection() override { return SetError(absl::OkStatus()); }
  absl::Status BlockSource() override { return Close(true); }
  absl::Status UnblockSource() override { return Close(false); }

 private:
  absl::Status SetError(const absl::Status& error) {
    for (const auto& memory : memories_) memory->SetError(error);
    return absl::OkStatus();
  }
  absl::Status Close(bool closed) {
    for (const auto& gate : gates_) gate->Close(closed);
    return absl::OkStatus();
  }

  const bool side_by_side_;
  std::size_t fed_ = 0;
  const std::shared_ptr<MemorySipCapture> memories_[2] = {MakeMemorySipCapture(),
                                                          MakeMemorySipCapture()};
  const std::shared_ptr<Gate> gates_[2] = {std::make_shared<Gate>(memories_[0]),
                                           std::make_shared<Gate>(memories_[1])};
};

const bool registered = [] {
  for (const bool side_by_side : {false, true}) {
    conformance::RegisterSipCaptureConformance(
        side_by_side ? "ChainSideBySide" : "ChainInTurn",
        [=] { return std::make_unique<ChainHarness>(side_by_side); });
  }
  return true;
}();

}  // namespace
}  // namespace sipheal
