// SPDX-License-Identifier: Apache-2.0
#include "sipheal/conformance/sip_capture.h"

#include <algorithm>

#include "base/status_macros.h"
#include "conformance/check.h"

namespace sipheal::inline v0_1::conformance {
namespace {

// INVITE, 200 and ACK of a call from phone to server.
std::vector<sip::CapturedMessage> Conversation(const SipCaptureHarness& harness,
                                               const std::string& call_id) {
  const std::string server = harness.server().ToString();
  const std::string phone = harness.phone().ToString();
  const std::string sdp =
      "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n"
      "m=audio 40000 RTP/AVP 0\r\n";
  const auto message = [&](const std::string& start, const std::string& cseq, bool to_tag,
                           const std::string& contact, bool with_sdp) {
    return start + "\r\nVia: SIP/2.0/UDP " + phone + ";branch=z9hG4bK" + cseq.substr(0, 1) +
           call_id.substr(0, 2) + "\r\nFrom: <sip:phone@example.invalid>;tag=phone-tag\r\n" +
           "To: <sip:100@example.invalid>" + (to_tag ? ";tag=server-tag" : "") +
           "\r\nCall-ID: " + call_id + "\r\nCSeq: " + cseq + "\r\nContact: <sip:c@" + contact +
           ">\r\nMax-Forwards: 70\r\n" +
           (with_sdp ? "Content-Type: application/sdp\r\nContent-Length: " +
                           std::to_string(sdp.size()) + "\r\n\r\n" + sdp
                     : "Content-Length: 0\r\n\r\n");
  };
  std::vector<sip::CapturedMessage> messages(3);
  messages[0].bytes =
      message("INVITE sip:100@" + server + " SIP/2.0", "1 INVITE", false, phone, true);
  messages[1].bytes = message("SIP/2.0 200 OK", "1 INVITE", true, server, true);
  messages[2].bytes = message("ACK sip:c@" + server + " SIP/2.0", "1 ACK", true, phone, false);
  const auto begin = SystemClock().Now() - std::chrono::seconds(10);
  for (std::size_t i = 0; i < messages.size(); ++i) {
    sip::CapturedMessage& m = messages[i];
    m.source = i == 1 ? harness.server() : harness.phone();
    m.destination = i == 1 ? harness.phone() : harness.server();
    m.transport = sip::Transport::kUdp;
    m.time = begin + std::chrono::milliseconds(10 * i) + std::chrono::microseconds(7);
    m.agent = harness.agent();
    m.sequence = i + 1;
  }
  return messages;
}

absl::Status FeedAll(SipCaptureHarness& harness, const std::string& call_id) {
  for (const sip::CapturedMessage& message : Conversation(harness, call_id)) {
    ABSL_RETURN_IF_ERROR(harness.Feed(call_id, message));
  }
  return absl::OkStatus();
}

SipCapture::FetchParams Ask(const SipCaptureHarness& harness, std::vector<std::string> call_ids) {
  SipCapture::FetchParams params;
  params.call_ids = std::move(call_ids);
  params.instance = harness.instance();
  return params;
}

bool Knows(const DialogCapture& capture) {
  return capture.completeness != Completeness::kMissing &&
         (!capture.messages.empty() || !capture.dialogs.empty());
}

bool KnowsNothing(const DialogCapture& capture) {
  return capture.completeness == Completeness::kMissing && capture.messages.empty() &&
         capture.dialogs.empty();
}

absl::Status ManyThreadsAtOnce(SipCaptureHarness& harness) {
  ABSL_ASSIGN_OR_RETURN(const auto capture, harness.Make());
  std::vector<std::string> ids;
  for (int i = 0; i < 20; ++i) ids.push_back(absl::StrFormat("threads-%d@192.0.2.1", i));
  for (const std::string& id : ids) ABSL_RETURN_IF_ERROR(FeedAll(harness, id));
  return OnThreads(4, [&](int) -> absl::Status {
    for (int round = 0; round < 10; ++round) {
      SIPHEAL_TAKE(const auto got, capture->Fetch({}, Ask(harness, ids)));
      SIPHEAL_REQUIRE(got.size() == ids.size(), "%d results for %d Call-IDs", got.size(),
                      ids.size());
      for (std::size_t i = 0; i < ids.size(); ++i) {
        SIPHEAL_REQUIRE(got[i].call_id == ids[i] && Knows(got[i]),
                        "Call-ID %s is missing when several threads ask", ids[i]);
      }
    }
    return absl::OkStatus();
  });
}

absl::Status OverContextEndsAtOnce(SipCaptureHarness& harness) {
  ABSL_ASSIGN_OR_RETURN(const auto capture, harness.Make());
  Canceller canceller;
  canceller.Cancel();
  SIPHEAL_REQUIRE_CODE(capture->Fetch(OverContext(), Ask(harness, {"c"})),
                       absl::StatusCode::kDeadlineExceeded);
  SIPHEAL_REQUIRE_CODE(capture->Fetch(canceller.Context(), Ask(harness, {"c"})),
                       absl::StatusCode::kCancelled);
  return absl::OkStatus();
}

absl::Status BlockedSourceEndsInTime(SipCaptureHarness& harness) {
  ABSL_ASSIGN_OR_RETURN(const auto capture, harness.Make());
  ABSL_RETURN_IF_ERROR(harness.BlockSource());
  const absl::Status result = EndsInTime("Fetch", [&](const CallContext& ctx) {
    return capture->Fetch(ctx, Ask(harness, {"c"})).status();
  });
  ABSL_RETURN_IF_ERROR(harness.UnblockSource());
  return result;
}

absl::Status OneResultForEachInOrder(SipCaptureHarness& harness) {
  ABSL_ASSIGN_OR_RETURN(const auto capture, harness.Make());
  ABSL_RETURN_IF_ERROR(FeedAll(harness, "known-1@192.0.2.1"));
  ABSL_RETURN_IF_ERROR(FeedAll(harness, "known-2@192.0.2.1"));
  const std::vector<std::string> asked = {"known-2@192.0.2.1", "never-1", "known-1@192.0.2.1",
                                          "known-2@192.0.2.1", "never-2"};
  SIPHEAL_TAKE(const auto got, capture->Fetch({}, Ask(harness, asked)));
  SIPHEAL_REQUIRE(got.size() == asked.size(), "%d results for %d Call-IDs", got.size(),
                  asked.size());
  for (std::size_t i = 0; i < asked.size(); ++i) {
    SIPHEAL_REQUIRE(got[i].call_id == asked[i], "result %d is of %s, asked was %s", i,
                    got[i].call_id, asked[i]);
    const bool known = asked[i].starts_with("known");
    SIPHEAL_REQUIRE(known ? Knows(got[i]) : KnowsNothing(got[i]), "%s, which was %s, is %s",
                    asked[i], known ? "seen" : "never seen", known ? "missing" : "not kMissing");
  }
  SIPHEAL_TAKE(const auto none, capture->Fetch({}, Ask(harness, {})));
  SIPHEAL_REQUIRE(none.empty(), "%d results for no Call-ID", none.size());
  return absl::OkStatus();
}

absl::Status LostSourceIsUnavailable(SipCaptureHarness& harness) {
  ABSL_ASSIGN_OR_RETURN(const auto capture, harness.Make());
  ABSL_RETURN_IF_ERROR(FeedAll(harness, "known@192.0.2.1"));
  ABSL_RETURN_IF_ERROR(harness.BreakConnection());
  const auto broken = capture->Fetch(CallContext::WithTimeout(std::chrono::seconds(10)),
                                     Ask(harness, {"known@192.0.2.1", "never"}));
  ABSL_RETURN_IF_ERROR(harness.HealConnection());
  SIPHEAL_REQUIRE(broken.status().code() == absl::StatusCode::kUnavailable,
                  "a source that cannot be reached gave \"%s\"", broken.status().ToString());
  SIPHEAL_TAKE(const auto healed, capture->Fetch({}, Ask(harness, {"known@192.0.2.1"})));
  SIPHEAL_REQUIRE(healed.size() == 1 && Knows(healed[0]), "nothing is known after it healed");
  return absl::OkStatus();
}

absl::Status CallIdsAreComparedByteByByte(SipCaptureHarness& harness) {
  ABSL_ASSIGN_OR_RETURN(const auto capture, harness.Make());
  const std::vector<std::string> seen = {"Exact-1@192.0.2.1", "exact-1@192.0.2.1",
                                         "Exact-1@192.0.2.10", "%xact-1@192.0.2.1"};
  for (const std::string& id : seen) ABSL_RETURN_IF_ERROR(FeedAll(harness, id));
  SIPHEAL_TAKE(const auto got,
               capture->Fetch({}, Ask(harness, {"Exact-1@192.0.2.1", "EXACT-1@192.0.2.1", "Exact-1",
                                                "_xact-1@192.0.2.1", "%"})));
  SIPHEAL_REQUIRE(got.size() == 5, "%d results for 5 Call-IDs", got.size());
  SIPHEAL_REQUIRE(Knows(got[0]), "a Call-ID that was seen is missing");
  SIPHEAL_REQUIRE(got[0].messages.size() <= 3 && got[0].dialogs.size() <= 1,
                  "a dialog of 3 messages came back with %d messages and %d dialogs",
                  got[0].messages.size(), got[0].dialogs.size());
  for (const sip::CapturedMessage& message : got[0].messages) {
    SIPHEAL_REQUIRE(message.bytes.find("Call-ID: Exact-1@192.0.2.1\r\n") != std::string::npos,
                    "a message of another Call-ID was returned");
  }
  for (std::size_t i = 1; i < got.size(); ++i) {
    SIPHEAL_REQUIRE(KnowsNothing(got[i]), "%s was never seen, and is not missing", got[i].call_id);
  }
  return absl::OkStatus();
}

absl::Status MessagesCarryTheirProvenance(SipCaptureHarness& harness) {
  ABSL_ASSIGN_OR_RETURN(const auto capture, harness.Make());
  const std::string id = "provenance@192.0.2.1";
  const auto fed = Conversation(harness, id);
  for (const sip::CapturedMessage& message : fed) {
    ABSL_RETURN_IF_ERROR(harness.Feed(id, message));
  }
  SIPHEAL_TAKE(const auto got, capture->Fetch({}, Ask(harness, {id})));
  SIPHEAL_REQUIRE(got.size() == 1 && Knows(got[0]), "a dialog that was seen is missing");
  if (!harness.KeepsMessages()) {
    SIPHEAL_REQUIRE(got[0].dialogs.size() == 1, "one dialog came back as %d",
                    got[0].dialogs.size());
    const sip::DialogState& dialog = got[0].dialogs[0];
    SIPHEAL_REQUIRE(dialog.call_id == id && dialog.local.tag == "server-tag" &&
                        dialog.remote.tag == "phone-tag",
                    "the folded dialog has another identity than the messages");
    SIPHEAL_REQUIRE(dialog.observed_source == harness.phone(),
                    "the folded dialog's peer is not where its messages came from");
    return absl::OkStatus();
  }
  SIPHEAL_REQUIRE(got[0].messages.size() == fed.size(), "of %d messages %d came back", fed.size(),
                  got[0].messages.size());
  for (const sip::CapturedMessage& message : fed) {
    const auto same = [&](const sip::CapturedMessage& other) {
      return other.bytes == message.bytes && other.source == message.source &&
             other.destination == message.destination && other.transport == message.transport &&
             other.time == message.time && other.agent == message.agent;
    };
    SIPHEAL_REQUIRE(std::any_of(got[0].messages.begin(), got[0].messages.end(), same),
                    "a message did not come back with its bytes, addresses, time and agent");
  }
  return absl::OkStatus();
}

absl::Status OddArgumentsDoNotThrow(SipCaptureHarness& harness) {
  ABSL_ASSIGN_OR_RETURN(const auto capture, harness.Make());
  const std::string odd("\xff\0'\"\r\n%s{", 10);
  return DoesNotThrow("a capture given odd arguments", [&] {
    SipCapture::FetchParams params = Ask(harness, {"", odd, std::string(100'000, 'x')});
    (void)capture->Fetch({}, params);
    params.instance = odd;
    params.since = WallTime::max();
    params.until = WallTime::min();
    (void)capture->Fetch({}, params);
  });
}

constexpr Case<SipCaptureHarness> kCases[] = {
    {"SC-1", "ManyThreadsAtOnce", "Fetch may be called from several threads at once",
     ManyThreadsAtOnce},
    {"SC-2", "OverContextEndsAtOnce", "a context that is over gives DeadlineExceeded or Cancelled",
     OverContextEndsAtOnce},
    {"SC-2", "BlockedSourceEndsInTime",
     "a source that does not answer costs no more than 100 ms beyond deadline or stop",
     BlockedSourceEndsInTime},
    {"SC-3", "OneResultForEachInOrder",
     "one result for each Call-ID asked, in order; one never seen is kMissing",
     OneResultForEachInOrder},
    {"SC-4", "LostSourceIsUnavailable", "a source that fails is Unavailable, never kMissing",
     LostSourceIsUnavailable},
    {"SC-5", "CallIdsAreComparedByteByByte", "Call-IDs are compared byte by byte",
     CallIdsAreComparedByteByByte},
    {"SC-6", "MessagesCarryTheirProvenance",
     "messages carry source, destination, transport, time and agent, and their bytes unchanged",
     MessagesCarryTheirProvenance},
    {"SC-7", "OddArgumentsDoNotThrow", "no exception leaves a method", OddArgumentsDoNotThrow},
};

sip::Endpoint Loopback(std::uint8_t last, std::uint16_t port) {
  sip::Endpoint endpoint;
  endpoint.ip = sip::IpAddress::V4({127, 0, 0, last});
  endpoint.port = port;
  return endpoint;
}

}  // namespace

SipCaptureHarness::~SipCaptureHarness() = default;
std::string SipCaptureHarness::instance() const { return "conformance"; }
std::string SipCaptureHarness::agent() const { return "conformance"; }
sip::Endpoint SipCaptureHarness::server() const { return Loopback(1, 5060); }
sip::Endpoint SipCaptureHarness::phone() const { return Loopback(2, 5062); }
absl::Status SipCaptureHarness::BreakConnection() {
  return absl::UnimplementedError("the harness cannot break the connection");
}
absl::Status SipCaptureHarness::HealConnection() { return absl::OkStatus(); }
absl::Status SipCaptureHarness::BlockSource() {
  return absl::UnimplementedError("the harness cannot block the source");
}
absl::Status SipCaptureHarness::UnblockSource() { return absl::OkStatus(); }

std::span<const Case<SipCaptureHarness>> SipCaptureCases() { return kCases; }

}  // namespace sipheal::inline v0_1::conformance
