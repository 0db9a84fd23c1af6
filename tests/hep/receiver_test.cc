// SPDX-License-Identifier: Apache-2.0
// The receiver on real sockets of the loopback, on free ports.
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "hep/udp_socket.h"
#include "sipheal/adapters/hep.h"
#include "sipheal/adapters/memory.h"
#include "sipheal/sip/dialog_codec.h"
#include "sipheal/testing/forwarding_session_store.h"
#include "tests/hep/hep_builder.h"
#include "tests/hep/test_call.h"

namespace sipheal {
namespace {

using sip::CapturedMessage;
using ::testing::HasSubstr;
using testing::HepPacketOf;
using ::testing::IsEmpty;
using testing::TestCall;

constexpr auto kLong = std::chrono::seconds(20);

// Sends to a receiver, as an agent does.
class Sender {
 public:
  Sender(const sip::Endpoint& to, int type) : fd_(::socket(AF_INET, type | SOCK_CLOEXEC, 0)) {
    sockaddr_storage address;
    const socklen_t size = hep::ToSockaddr(to, address);
    EXPECT_EQ(::connect(fd_.get(), reinterpret_cast<sockaddr*>(&address), size), 0);
    const int on = 1;  // what the sender's kernel holds back cannot be in a fetch
    ::setsockopt(fd_.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  }
  void Send(std::string_view bytes) {
    EXPECT_EQ(::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(bytes.size()));
  }
  // Waits until the other side has closed the connection.
  bool Closed() {
    char byte;
    return ::recv(fd_.get(), &byte, 1, 0) <= 0;
  }

 private:
  hep::UniqueFd fd_;
};

// A store that the test can break, hold up, or make refuse one call.
class TroubledStore final : public testing::ForwardingSessionStore {
 public:
  using ForwardingSessionStore::ForwardingSessionStore;

  void SetError(absl::Status error) {
    std::lock_guard lock(mutex_);
    error_ = std::move(error);
  }
  void Refuse(std::string call_id) {
    std::lock_guard lock(mutex_);
    refused_ = std::move(call_id);
  }
  void Hold(bool held) {
    std::lock_guard lock(mutex_);
    held_ = held;
    wake_.notify_all();
  }
  // Waits until a write hangs in here.
  void AwaitHeldWrite() {
    std::unique_lock lock(mutex_);
    wake_.wait(lock, [this] { return waiting_; });
  }
  // Waits until this many writes were refused.
  void AwaitErrors(int count) {
    std::unique_lock lock(mutex_);
    wake_.wait(lock, [&] { return errors_ >= count; });
  }

  absl::Status SaveDialogs(const CallContext& ctx,
                           const std::vector<DialogRecord>& records) override {
    {
      std::unique_lock lock(mutex_);
      waiting_ = held_;
      wake_.notify_all();
      wake_.wait(lock, [this] { return !held_; });
      waiting_ = false;
      if (!error_.ok()) {
        ++errors_;
        wake_.notify_all();
        return error_;
      }
      for (const DialogRecord& record : records) {
        if (record.call_id == refused_) return absl::InvalidArgumentError("this one never");
      }
    }
    return ForwardingSessionStore::SaveDialogs(ctx, records);
  }
  absl::StatusOr<std::vector<DialogRecord>> LoadDialogs(
      const CallContext& ctx, const std::vector<std::string>& call_ids) override {
    {
      std::lock_guard lock(mutex_);
      if (!error_.ok()) return error_;
    }
    return ForwardingSessionStore::LoadDialogs(ctx, call_ids);
  }

 private:
  std::mutex mutex_;
  std::condition_variable wake_;
  absl::Status error_;
  std::string refused_;
  bool held_ = false;
  bool waiting_ = false;
  int errors_ = 0;
};

class HepReceiverTest : public ::testing::Test {
 protected:
  HepOptions Options() const {
    HepOptions options;
    options.udp = sip::Endpoint{*sip::IpAddress::Parse("127.0.0.1"), 0};
    options.tcp = options.udp;
    options.write_behind = std::chrono::milliseconds(10);
    HepInstanceOptions instance;
    instance.instance = "a";
    instance.agents = {"a"};
    instance.server = call_.Identity();
    options.instances.push_back(std::move(instance));
    return options;
  }
  static std::shared_ptr<HepReceiver> Started(HepOptions options) {
    absl::StatusOr<std::shared_ptr<HepReceiver>> receiver = MakeHepReceiver(std::move(options));
    EXPECT_TRUE(receiver.ok()) << receiver.status();
    const absl::Status started = (*receiver)->Start();
    EXPECT_TRUE(started.ok()) << started;
    return *std::move(receiver);
  }
  static void SendAll(Sender& sender, const std::vector<CapturedMessage>& messages) {
    for (const CapturedMessage& message : messages) {
      sender.Send(HepPacketOf(message, {0, "a", ""}));
    }
  }
  static DialogCapture FetchOne(HepReceiver& receiver, const std::string& call_id) {
    SipCapture::FetchParams params;
    params.call_ids = {call_id};
    params.instance = "a";
    const auto captures = receiver.Fetch(CallContext::WithTimeout(kLong), params);
    EXPECT_TRUE(captures.ok()) << captures.status();
    return captures.ok() && captures->size() == 1 ? captures->front() : DialogCapture();
  }
  static std::vector<DialogRecord> Stored(SessionStore& store) {
    const auto records = store.LoadDialogs(CallContext::WithTimeout(kLong), {});
    EXPECT_TRUE(records.ok()) << records.status();
    return records.ok() ? *records : std::vector<DialogRecord>();
  }

  TestCall call_;
  std::shared_ptr<SessionStore> memory_ = MakeMemorySessionStore();
  std::shared_ptr<TroubledStore> store_ = std::make_shared<TroubledStore>(memory_);
};

// Fetch takes in what the kernel still holds: nothing has to be waited for.
TEST_F(HepReceiverTest, WhatWasSentBeforeAFetchIsInItOverUdp) {
  const auto receiver = Started(Options());
  Sender sender(receiver->udp_address(), SOCK_DGRAM);
  for (int i = 0; i < 200; ++i) {
    TestCall call;
    call.call_id = absl::StrFormat("udp-%d", i);
    SendAll(sender, call.Setup());
    const DialogCapture capture = FetchOne(*receiver, call.call_id);
    ASSERT_EQ(capture.dialogs.size(), 1u) << i;
    ASSERT_EQ(capture.dialogs[0].phase, sip::DialogPhase::kConfirmed) << i;
  }
  EXPECT_EQ(receiver->Stats().instances[0].folded, 1000u);
  EXPECT_EQ(receiver->Stats().kernel_dropped, 0u);
}

TEST_F(HepReceiverTest, SendsOnWhatItAcceptsUnchangedAndNothingElse) {
  const auto homer = Started(Options());
  HepOptions options = Options();
  options.forward = homer->udp_address();
  const auto receiver = Started(options);
  Sender udp(receiver->udp_address(), SOCK_DGRAM);
  TestCall call;
  call.call_id = "forwarded";
  udp.Send(HepPacketOf(call.Setup().front(), {0, "nobody", ""}));
  udp.Send("no HEP at all");
  SendAll(udp, call.Setup());
  EXPECT_EQ(FetchOne(*receiver, call.call_id).dialogs.size(), 1u);
  const HepStats stats = receiver->Stats();
  EXPECT_EQ(stats.forwarded, call.Setup().size());
  EXPECT_EQ(stats.not_forwarded, 0u);

  const DialogCapture there = FetchOne(*homer, call.call_id);
  ASSERT_EQ(there.dialogs.size(), 1u);
  EXPECT_EQ(there.dialogs[0].phase, sip::DialogPhase::kConfirmed);
  EXPECT_EQ(homer->Stats().packets, call.Setup().size());
  EXPECT_EQ(homer->Stats().unknown_agent, 0u);
}

TEST_F(HepReceiverTest, DoesNotSendOnToItselfOrNowhere) {
  HepOptions options = Options();
  options.forward = sip::Endpoint{*sip::IpAddress::Parse("127.0.0.1"), 0};
  EXPECT_TRUE(absl::IsInvalidArgument(MakeHepReceiver(options).status()));
  options.udp = options.forward = sip::Endpoint{*sip::IpAddress::Parse("127.0.0.1"), 9060};
  EXPECT_TRUE(absl::IsInvalidArgument(MakeHepReceiver(options).status()));
}

TEST_F(HepReceiverTest, WhatWasSentBeforeAFetchIsInItOverTcpHoweverItWasCut) {
  const auto receiver = Started(Options());
  std::mt19937 random(3);  // NOLINT: a fixed seed
  for (int i = 0; i < 50; ++i) {
    Sender sender(receiver->tcp_address(), SOCK_STREAM);
    TestCall call;
    call.call_id = absl::StrFormat("tcp-%d", i);
    std::string stream;
    for (const CapturedMessage& message : call.Setup()) {
      stream += HepPacketOf(message, {0, "a", ""});
    }
    while (!stream.empty()) {
      const std::size_t size = std::min<std::size_t>(1 + random() % 700, stream.size());
      sender.Send(stream.substr(0, size));
      stream.erase(0, size);
    }
    const DialogCapture capture = FetchOne(*receiver, call.call_id);
    ASSERT_EQ(capture.dialogs.size(), 1u) << i;
    ASSERT_EQ(capture.dialogs[0].phase, sip::DialogPhase::kConfirmed) << i;
  }
  EXPECT_EQ(receiver->Stats().tcp_connections, 50u);
}

// F99
TEST_F(HepReceiverTest, AConnectionThatSpeaksSomethingElseIsClosedAndTheOthersGoOn) {
  const auto receiver = Started(Options());
  Sender good(receiver->tcp_address(), SOCK_STREAM);
  Sender bad(receiver->tcp_address(), SOCK_STREAM);
  const std::vector<CapturedMessage> setup = call_.Setup();
  good.Send(HepPacketOf(setup[0], {0, "a", ""}).substr(0, 100));
  bad.Send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_TRUE(bad.Closed());
  good.Send(HepPacketOf(setup[0], {0, "a", ""}).substr(100));
  good.Send(HepPacketOf(setup[3], {0, "a", ""}));
  EXPECT_EQ(FetchOne(*receiver, call_.call_id).dialogs.size(), 1u);
  EXPECT_EQ(receiver->Stats().refused[static_cast<std::size_t>(sip::HepError::kNotHep)], 1u);
}

// F99
TEST_F(HepReceiverTest, GarbageOnTheSocketHarmsNothing) {
  const auto receiver = Started(Options());
  Sender sender(receiver->udp_address(), SOCK_DGRAM);
  std::mt19937 random(99);  // NOLINT: a fixed seed
  const std::string good = HepPacketOf(call_.Setup()[0], {0, "a", ""});
  for (int i = 0; i < 2000; ++i) {
    std::string bytes = good;
    switch (i % 4) {
      case 0:
        bytes.resize(random() % bytes.size());
        break;
      case 1:
        bytes += std::string(random() % 60000, 'x');
        break;
      case 2:
        for (int flips = 0; flips < 5; ++flips) {
          bytes[random() % 120] = static_cast<char>(random());
        }
        break;
      default:
        bytes.assign(random() % 1500, '\0');
        for (char& c : bytes) c = static_cast<char>(random());
    }
    sender.Send(bytes);
    if (i % 10 == 0) FetchOne(*receiver, "x");  // keeps the kernel's buffer short
  }
  SendAll(sender, call_.Setup());
  ASSERT_EQ(FetchOne(*receiver, call_.call_id).dialogs.size(), 1u);
  const HepStats stats = receiver->Stats();
  EXPECT_EQ(stats.packets, 2005u);
  EXPECT_GT(stats.refused[static_cast<std::size_t>(sip::HepError::kTotalLength)], 400u);
}

TEST_F(HepReceiverTest, FetchKeepsOrderSaysMissingAndObeysItsContext) {
  const auto receiver = Started(Options());
  Sender sender(receiver->udp_address(), SOCK_DGRAM);
  SendAll(sender, call_.Setup());
  SipCapture::FetchParams params;
  params.instance = "a";
  params.call_ids = {"x", call_.call_id, "y", call_.call_id};
  const auto captures = receiver->Fetch(CallContext::WithTimeout(kLong), params);
  ASSERT_TRUE(captures.ok()) << captures.status();
  ASSERT_EQ(captures->size(), 4u);
  EXPECT_EQ((*captures)[0].completeness, Completeness::kMissing);
  EXPECT_EQ((*captures)[1].completeness, Completeness::kBestEffort);
  EXPECT_EQ((*captures)[2].call_id, "y");
  EXPECT_EQ((*captures)[3].dialogs.size(), 1u);

  EXPECT_EQ(
      receiver->Fetch(CallContext::WithTimeout(std::chrono::seconds(-1)), params).status().code(),
      absl::StatusCode::kDeadlineExceeded);
  std::stop_source stop;
  stop.request_stop();
  CallContext stopped;
  stopped.stop = stop.get_token();
  EXPECT_EQ(receiver->Fetch(stopped, params).status().code(), absl::StatusCode::kCancelled);
}

TEST_F(HepReceiverTest, FetchIsUnavailableBeforeStartAndAfterStop) {
  const auto receiver = *MakeHepReceiver(Options());
  SipCapture::FetchParams params;
  EXPECT_TRUE(absl::IsUnavailable(receiver->Fetch({}, params).status()));
  ASSERT_TRUE(receiver->Start().ok());
  EXPECT_TRUE(receiver->Fetch({}, params).ok());
  EXPECT_EQ(receiver->Start().code(), absl::StatusCode::kFailedPrecondition);
  receiver->Stop();
  receiver->Stop();
  EXPECT_TRUE(absl::IsUnavailable(receiver->Fetch({}, params).status()));
}

TEST_F(HepReceiverTest, APortInUseIsNamed) {
  const auto first = Started(Options());
  HepOptions options = Options();
  options.udp = first->udp_address();
  const auto second = *MakeHepReceiver(std::move(options));
  const absl::Status status = second->Start();
  EXPECT_TRUE(absl::IsUnavailable(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr(first->udp_address().ToString()));
}

TEST_F(HepReceiverTest, WrongOptionsAreNamed) {
  const auto message = [](HepOptions options) {
    const auto receiver = MakeHepReceiver(std::move(options));
    EXPECT_EQ(receiver.status().code(), absl::StatusCode::kInvalidArgument);
    return std::string(receiver.status().message());
  };
  HepOptions options = Options();
  options.udp.reset();
  options.tcp.reset();
  EXPECT_THAT(message(options), HasSubstr("udp"));
  options = Options();
  options.write_behind = std::chrono::milliseconds(1001);
  EXPECT_THAT(message(options), HasSubstr("write_behind"));
  options = Options();
  options.auth_key_file = "/nonexistent/key";
  EXPECT_THAT(message(options), HasSubstr("auth_key_file"));
  options.auth_key = "x";
  EXPECT_THAT(message(options), HasSubstr("auth_key"));
  options = Options();
  options.ended_linger = std::chrono::seconds(1);
  EXPECT_THAT(message(options), HasSubstr("ended_linger"));
  options = Options();
  options.instances.push_back(options.instances[0]);
  EXPECT_FALSE(MakeHepReceiver(options).ok());
}

TEST_F(HepReceiverTest, LastHeardIsWhenAPacketOfTheAgentCame) {
  const auto receiver = Started(Options());
  EXPECT_EQ(receiver->LastHeard("a"), std::nullopt);
  EXPECT_EQ(receiver->LastHeard("nobody"), std::nullopt);
  Sender sender(receiver->udp_address(), SOCK_DGRAM);
  const MonotonicTime before = std::chrono::steady_clock::now();
  sender.Send(HepPacketOf(call_.Setup()[0], {0, "stranger", ""}));
  FetchOne(*receiver, "x");
  EXPECT_EQ(receiver->LastHeard("a"), std::nullopt);
  sender.Send(HepPacketOf(call_.Setup()[0], {0, "a", ""}, 5));  // RTCP, too, is a sign of life
  FetchOne(*receiver, "x");
  ASSERT_TRUE(receiver->LastHeard("a").has_value());
  // By two clocks, which agree to the millisecond.
  EXPECT_GE(*receiver->LastHeard("a"), before - std::chrono::milliseconds(5));
  EXPECT_LE(*receiver->LastHeard("a"), std::chrono::steady_clock::now());
}

TEST_F(HepReceiverTest, DialogsAreWrittenBehindRemovedAtTheirEndAndReadBackAtStart) {
  HepOptions options = Options();
  options.store = store_;
  auto receiver = Started(options);
  {
    Sender sender(receiver->udp_address(), SOCK_DGRAM);
    SendAll(sender, call_.Setup());
  }
  ASSERT_TRUE(receiver->Flush(CallContext::WithTimeout(kLong)).ok());
  std::vector<DialogRecord> stored = Stored(*memory_);
  ASSERT_EQ(stored.size(), 1u);
  const sip::DialogState before = FetchOne(*receiver, call_.call_id).dialogs.at(0);
  EXPECT_EQ(sip::DecodeDialog(stored[0].bytes)->dialog, before);

  receiver.reset();  // the controller is gone
  receiver = Started(options);
  const DialogCapture restored = FetchOne(*receiver, call_.call_id);
  ASSERT_EQ(restored.dialogs.size(), 1u);
  EXPECT_TRUE(restored.dialogs[0].from_stored_state);
  EXPECT_EQ(restored.dialogs[0].remote_target, before.remote_target);

  Sender sender(receiver->udp_address(), SOCK_DGRAM);
  SendAll(sender, call_.Bye(2, false));
  ASSERT_TRUE(receiver->Flush(CallContext::WithTimeout(kLong)).ok());
  EXPECT_THAT(Stored(*memory_), IsEmpty());
  EXPECT_EQ(receiver->Stats().store_removed, 1u);
}

TEST_F(HepReceiverTest, StopWritesWhatIsPending) {
  HepOptions options = Options();
  options.store = store_;
  options.write_behind = std::chrono::milliseconds(1000);
  const auto receiver = Started(options);
  Sender sender(receiver->udp_address(), SOCK_DGRAM);
  SendAll(sender, call_.Setup());
  receiver->Stop();
  EXPECT_EQ(Stored(*memory_).size(), 1u);
}

// F81: the store is away; receiving goes on, and nothing is lost.
TEST_F(HepReceiverTest, AStoreThatFailsOrHangsStallsNothingAndMissesNothing) {
  HepOptions options = Options();
  options.store = store_;
  const auto receiver = Started(options);
  Sender sender(receiver->udp_address(), SOCK_DGRAM);
  store_->Hold(true);
  std::vector<TestCall> calls(100);
  for (std::size_t i = 0; i < calls.size(); ++i) {
    calls[i].call_id = absl::StrFormat("held-%d", i);
    SendAll(sender, calls[i].Setup());
    ASSERT_EQ(FetchOne(*receiver, calls[i].call_id).dialogs.size(), 1u);
    if (i == 0) store_->AwaitHeldWrite();
  }
  store_->SetError(absl::UnavailableError("the disk is full"));
  store_->Hold(false);
  store_->AwaitErrors(3);  // the third try begins after the receiver has counted two
  EXPECT_THAT(Stored(*memory_), IsEmpty());
  SendAll(sender, calls[7].Bye(2, false));  // ends while the store is away
  FetchOne(*receiver, calls[7].call_id);    // what was sent is received now
  EXPECT_GE(receiver->Stats().store_errors, 2u);
  store_->SetError(absl::OkStatus());
  ASSERT_TRUE(receiver->Flush(CallContext::WithTimeout(kLong)).ok());
  EXPECT_EQ(Stored(*memory_).size(), 99u);
  EXPECT_EQ(receiver->Stats().store_backlog, 0u);
}

TEST_F(HepReceiverTest, ARecordThatTheStoreRefusesForGoodHoldsUpNoOther) {
  HepOptions options = Options();
  options.store = store_;
  store_->Refuse("poison");
  const auto receiver = Started(options);
  Sender sender(receiver->udp_address(), SOCK_DGRAM);
  for (const char* id : {"one", "poison", "two"}) {
    TestCall call;
    call.call_id = id;
    SendAll(sender, call.Setup());
  }
  ASSERT_TRUE(receiver->Flush(CallContext::WithTimeout(kLong)).ok());
  EXPECT_EQ(Stored(*memory_).size(), 2u);
  EXPECT_EQ(receiver->Stats().store_skipped, 1u);
}

// SC-4: not known is not the same as not to be asked.
TEST_F(HepReceiverTest, WhileTheStoreHasNotAnsweredAnUnseenCallIsUnavailableNotMissing) {
  store_->SetError(absl::UnavailableError("away"));
  HepOptions options = Options();
  options.store = store_;
  const auto receiver = Started(options);
  Sender sender(receiver->udp_address(), SOCK_DGRAM);
  SendAll(sender, call_.Setup());
  EXPECT_EQ(FetchOne(*receiver, call_.call_id).dialogs.size(), 1u);
  SipCapture::FetchParams params;
  params.instance = "a";
  params.call_ids = {"unseen"};
  EXPECT_TRUE(
      absl::IsUnavailable(receiver->Fetch(CallContext::WithTimeout(kLong), params).status()));
  store_->SetError(absl::OkStatus());
  EXPECT_EQ(FetchOne(*receiver, "unseen").completeness, Completeness::kMissing);
}

TEST_F(HepReceiverTest, RecordsOfLongAgoAreRemovedAtStart) {
  DialogRecord record;
  record.instance = "a";
  record.call_id = "old";
  record.local_tag = "l";
  record.remote_tag = "r";
  record.bytes = "b";
  record.updated_at = SystemClock().Now() - std::chrono::hours(24 * 8);
  DialogRecord fresh = record;
  fresh.call_id = "fresh";
  fresh.updated_at = SystemClock().Now();
  ASSERT_TRUE(memory_->SaveDialogs({}, {record, fresh}).ok());
  HepOptions options = Options();
  options.store = store_;
  const auto receiver = Started(options);
  const std::vector<DialogRecord> left = Stored(*memory_);
  ASSERT_EQ(left.size(), 1u);
  EXPECT_EQ(left[0].call_id, "fresh");
}

TEST_F(HepReceiverTest, ManyCallersAndAFloodGetAlongTogether) {
  HepOptions options = Options();
  options.store = store_;
  const auto receiver = Started(options);
  std::atomic<bool> done{false};
  std::thread flood([&] {
    Sender sender(receiver->udp_address(), SOCK_DGRAM);
    for (int i = 0; i < 2000; ++i) {
      TestCall call;
      call.call_id = absl::StrFormat("flood-%d", i % 500);
      SendAll(sender, call.Setup());
    }
    done = true;
  });
  std::vector<std::thread> callers;
  for (int t = 0; t < 3; ++t) {
    callers.emplace_back([&, t] {
      while (!done) {
        FetchOne(*receiver, absl::StrFormat("flood-%d", t));
        receiver->Stats();
        receiver->LastHeard("a");
        HepInstanceOptions extra;
        extra.instance = absl::StrFormat("extra-%d", t);
        extra.agents = {extra.instance};
        EXPECT_TRUE(receiver->AddInstance(extra).ok());
        EXPECT_TRUE(receiver->RemoveInstance(extra.instance).ok());
      }
    });
  }
  flood.join();
  for (std::thread& caller : callers) caller.join();
  ASSERT_TRUE(receiver->Flush(CallContext::WithTimeout(kLong)).ok());
  const HepStats stats = receiver->Stats();
  EXPECT_LE(stats.packets + stats.kernel_dropped, 10000u);  // the kernel tells late of drops
  EXPECT_EQ(FetchOne(*receiver, "flood-1").dialogs.size(), 1u);
}

}  // namespace
}  // namespace sipheal
