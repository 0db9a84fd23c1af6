// SPDX-License-Identifier: Apache-2.0
#include "sipheal/sip/dialog_codec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "sip/codec_bytes.h"
#include "sip/codec_fields.h"
#include "sip/text.h"
#include "tests/sip/call_script.h"
#include "tests/sip/full_state.h"

namespace sipheal::testing {
namespace {

using sip::CaptureTime;
using sip::DialogState;
using sip::Field;
using std::chrono::microseconds;

TEST(DialogCodec, RoundTripsEveryField_F84) {
  const DialogState state = FullState();
  const auto decoded = sip::DecodeDialog(sip::EncodeDialog(state));
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  EXPECT_EQ(decoded->damaged_fields, 0);
  EXPECT_EQ(decoded->unknown_fields, 0);
  EXPECT_TRUE(decoded->dialog == state);
  const DialogState empty = [] {
    DialogState d;
    d.call_id = "c";
    return d;
  }();
  const auto plain = sip::DecodeDialog(sip::EncodeDialog(empty));
  ASSERT_TRUE(plain.ok());
  EXPECT_TRUE(plain->dialog == empty);
}

TEST(DialogCodec, F78_F79_EveryTruncationIsAnErrorOrCountsWhatIsMissing) {
  const std::string bytes = sip::EncodeDialog(FullState());
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    const auto decoded = sip::DecodeDialog(std::string_view(bytes).substr(0, size));
    if (decoded.ok()) {
      EXPECT_GT(decoded->damaged_fields, 0) << size;
      EXPECT_FALSE(sip::Judge(decoded->dialog).recoverable()) << size;
    }
  }
}

TEST(DialogCodec, F78_F79_ADamagedByteCostsAtMostItsFieldAndNeverSendsAWrongOne) {
  CallScript call;
  call.AnsweredByPeer();
  const DialogState state = call.Only();
  ASSERT_TRUE(sip::Judge(state).recoverable());
  const std::string bytes = sip::EncodeDialog(state);
  std::mt19937 random(7);
  int readable = 0;
  for (std::size_t at = 0; at < bytes.size(); ++at) {
    std::string damaged = bytes;
    damaged[at] = static_cast<char>(damaged[at] ^ (1 + random() % 255));
    const auto decoded = sip::DecodeDialog(damaged);
    if (!decoded.ok()) continue;
    ++readable;
    const DialogState& dialog = decoded->dialog;
    if (!sip::Judge(dialog).recoverable()) continue;
    // What may still be sent, is what was stored.
    EXPECT_EQ(dialog.local, state.local) << at;
    EXPECT_EQ(dialog.remote, state.remote) << at;
    EXPECT_EQ(dialog.local_seq, state.local_seq) << at;
    EXPECT_EQ(dialog.route_set, state.route_set) << at;
    EXPECT_EQ(dialog.remote_target, state.remote_target) << at;
  }
  EXPECT_GT(readable, static_cast<int>(bytes.size() / 2));
}

TEST(DialogCodec, SkipsFieldsOfANewerWriter_F98) {
  std::string bytes = sip::EncodeDialog(FullState());
  bytes[5] = static_cast<char>(bytes[5] + 1);  // one field more
  bytes += std::string("\xc8\x01\x03xyz\x00", 7);
  const auto decoded = sip::DecodeDialog(bytes);
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  EXPECT_EQ(decoded->unknown_fields, 1);
  EXPECT_TRUE(decoded->dialog == FullState());
}

// What one machine stored, another reads: the check takes the first of eight bytes as the lowest.
TEST(DialogCodec, F98_TheChecksDoNotDependOnTheOrderOfBytesInAWord) {
  DialogState state;
  state.call_id = "one-of-more-than-sixteen-bytes@example.com";
  const std::string bytes = sip::EncodeDialog(state);
  sip::codec::ByteReader reader(std::string_view(bytes).substr(5));
  reader.Number();  // of fields
  const std::uint64_t tag = reader.Number();
  const std::string_view payload = reader.Text();
  constexpr std::uint64_t kPrime = 0x9fb21c651e98df25u;
  std::uint64_t hash = (payload.size() << 8 | tag) * kPrime;
  const auto mix = [&hash](std::uint64_t word) {
    hash = (hash ^ word) * kPrime;
    hash ^= hash >> 32;
  };
  const auto byte = [&payload](std::size_t at) {
    return std::uint64_t{static_cast<unsigned char>(payload[at])};
  };
  std::size_t at = 0;
  for (; at + 8 <= payload.size(); at += 8) {
    std::uint64_t word = 0;
    for (std::size_t i = 0; i < 8; ++i) word |= byte(at + i) << 8 * i;
    mix(word);
  }
  std::uint64_t last = 0;
  for (; at < payload.size(); ++at) last = last << 8 | byte(at);
  mix(last);
  EXPECT_EQ(reader.Number(), hash & 0xffff);
}

// As the first release wrote it: version 1, whose checks are hashes byte by byte, and 20 fields,
// evidence with its reason as a sentence, none of what came later.
TEST(DialogCodec, ReadsRecordsOfOlderReleases_F98) {
  DialogState state = FullState();
  state.resync_needed = false;
  state.local_pace = microseconds(0);
  state.session_timer.min_interval = std::chrono::seconds(0);
  state.redirect_targets.clear();
  state.usages.clear();
  state.links.clear();
  state.references = {};
  state.evidence = {{Field::kRole, {1, At(1)}, sip::Reason::kNamed, "because"}};
  constexpr unsigned kFirstLater = 21;
  std::string older = "SIPD\x01\x14";
  const auto add = [&older](unsigned char tag, std::string_view payload) {
    std::string field;
    {
      sip::codec::ByteWriter writer(&field);
      writer.Number(tag);
      writer.Text(payload);
      writer.Number(static_cast<std::uint16_t>(sip::HashBytes(payload, tag)));
    }
    older += field;
  };
  std::string sentences;
  {
    sip::codec::ByteWriter writer(&sentences);
    for (const unsigned number : {1u, static_cast<unsigned>(Field::kRole), 1u, 1u}) {
      writer.Number(number);
    }
    writer.Text("because");
  }
  add(sip::codec::kEvidence, sentences);
  const std::string now = sip::EncodeDialog(state);
  sip::codec::ByteReader reader(std::string_view(now).substr(6));
  for (int left = 19; left > 0; --left) {
    const auto tag = static_cast<unsigned char>(reader.Number());
    ASSERT_LT(tag, kFirstLater);
    const std::string_view payload = reader.Text();
    reader.Number();
    add(tag, payload);
  }
  const auto decoded = sip::DecodeDialog(older);
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  EXPECT_EQ(decoded->damaged_fields, 0);
  EXPECT_TRUE(decoded->dialog == state);
  EXPECT_EQ(decoded->dialog.FindEvidence(Field::kRole)->Why(), "because");
}

TEST(DialogCodec, AReasonOfANewerReleaseIsSaidToBeThat_F98) {
  DialogState state = FullState();
  state.evidence = {{Field::kRole, {1, At(1)}, static_cast<sip::Reason>(250), ""}};
  const auto decoded = sip::DecodeDialog(sip::EncodeDialog(state));
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  EXPECT_EQ(decoded->damaged_fields, 0);
  ASSERT_EQ(decoded->dialog.evidence.size(), 1u);
  EXPECT_EQ(decoded->dialog.evidence[0].Why(), "a reason that a newer sipheal knows");
}

// A check that fits, and a value that no release wrote.
TEST(DialogCodec, F79_AFieldThatBreaksHalfWayLeavesNothingOfItselfBehind) {
  struct Broken {
    void (*write)(DialogState&);
    void (*expect)(DialogState&);
  };
  const Broken cases[] = {
      {[](DialogState& d) { d.end = static_cast<sip::DialogEnd>(99); },
       [](DialogState& d) {
         d.role = sip::DialogRole::kUnknown;
         d.phase = sip::DialogPhase::kUnknown;
         d.end = sip::DialogEnd::kNone;
         d.secure = false;
         d.missing = {Field::kPhase, Field::kRemoteSdp, Field::kEnd};
       }},
      {[](DialogState& d) { d.local_sdp.media[0].direction = static_cast<sip::SdpDirection>(9); },
       [](DialogState& d) {
         d.local_sdp = {};
         d.highest_local_sdp_version.clear();
         d.missing = {Field::kLocalSdp, Field::kRemoteSdp};
       }},
      {[](DialogState& d) {
         d.evidence.push_back(
             {static_cast<Field>(200), {2, At(2)}, sip::Reason::kNamed, "of a field that is none"});
       },
       [](DialogState& d) { d.evidence.clear(); }},
      {[](DialogState& d) { d.missing.push_back(static_cast<Field>(200)); },
       [](DialogState& d) {
         d.missing = {Field::kInviteUsage};
         d.warnings.clear();
         d.quarantined = 0;
         d.limits_reached = d.from_stored_state = false;
       }},
  };
  for (const Broken& broken : cases) {
    DialogState state = FullState();
    broken.write(state);
    const auto decoded = sip::DecodeDialog(sip::EncodeDialog(state));
    ASSERT_TRUE(decoded.ok()) << decoded.status();
    EXPECT_EQ(decoded->damaged_fields, 1);
    DialogState expected = FullState();
    broken.expect(expected);
    EXPECT_TRUE(decoded->dialog == expected);
  }
}

TEST(DialogCodec, WritesIntoTheStringThatItIsGivenAndKeepsItsMemory) {
  std::string bytes;
  sip::EncodeDialog(FullState(), &bytes);
  EXPECT_EQ(bytes, sip::EncodeDialog(FullState()));
  const char* const memory = bytes.data();
  DialogState small;
  small.call_id = "c";
  for (const DialogState& state : {small, FullState()}) {
    sip::EncodeDialog(state, &bytes);
    EXPECT_EQ(bytes, sip::EncodeDialog(state));
    EXPECT_EQ(static_cast<const void*>(bytes.data()), memory);
  }
}

TEST(DialogCodec, TextsOfAnySizeComeBack) {
  for (std::size_t size = 0; size < 400; ++size) {
    DialogState state = FullState();
    state.call_id = std::string(size + 1, 'c');
    state.local.display = std::string(size, '\0') + 'x';
    state.warnings = {std::string(size * 100, 'w')};
    const auto decoded = sip::DecodeDialog(sip::EncodeDialog(state));
    ASSERT_TRUE(decoded.ok()) << decoded.status();
    EXPECT_TRUE(decoded->dialog == state) << size;
  }
}

TEST(DialogCodec, RefusesWhatIsNotItsOwn) {
  EXPECT_EQ(sip::DecodeDialog("").status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(sip::DecodeDialog("{\"json\":1}").status().code(), absl::StatusCode::kInvalidArgument);
  std::string newer = sip::EncodeDialog(FullState());
  newer[4] = 9;
  EXPECT_EQ(sip::DecodeDialog(newer).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(StoredState, RaisesBoundsAndFillsHolesButDoesNotOverrule) {
  CallScript call;
  call.AnsweredByPeer();
  DialogState fresh = call.Only();
  DialogState stored = fresh;
  stored.local_seq = 50;
  stored.remote_target = "sip:old@198.51.100.7";
  stored.highest_local_sdp_version = "12";
  sip::MergeStoredState(stored, fresh);
  EXPECT_EQ(fresh.local_seq, 50u);
  EXPECT_EQ(fresh.remote_target, "sip:phone@198.51.100.7:5060");
  EXPECT_EQ(fresh.highest_local_sdp_version, "12");
  EXPECT_TRUE(fresh.from_stored_state);
  stored.remote.tag = "another";
  stored.local_seq = 99;
  sip::MergeStoredState(stored, fresh);
  EXPECT_EQ(fresh.local_seq, 50u);
}

TEST(StoredState, AnEndIsFinal) {
  CallScript call;
  call.AnsweredByPeer();
  DialogState fresh = call.Only();
  DialogState stored = fresh;
  stored.phase = sip::DialogPhase::kTerminated;
  stored.end = sip::DialogEnd::kByeSent;
  sip::MergeStoredState(stored, fresh);
  EXPECT_EQ(sip::Judge(fresh).token, sip::VerdictToken::kEnded);
}

}  // namespace
}  // namespace sipheal::testing
