// SPDX-License-Identifier: Apache-2.0
#include "grpc/model_to_proto.h"

#include <algorithm>
#include <limits>

namespace sipheal::inline v0_1::internal {
namespace {

using std::chrono::milliseconds;

constexpr std::int64_t kMicros = 1'000'000;
// 0001-01-01 and 9999-12-31, as google/protobuf/timestamp.proto has them, and its durations.
constexpr std::int64_t kFirstSecond = -62'135'596'800;
constexpr std::int64_t kLastSecond = 253'402'300'799;
constexpr std::int64_t kLongestSeconds = 315'576'000'000;

void SetTime(const std::optional<WallTime>& time, google::protobuf::Timestamp* out) {
  *out = ToProto(*time);
}

v1::FlowState FlowToProto(const FlowState& flow, ProtoText& text) {
  v1::FlowState out;
  out.set_stasis_app(text.Name(flow.stasis_app, "flow.stasis_app"));
  for (const std::string& arg : flow.stasis_args) {
    out.add_stasis_args(text.Name(arg, "flow.stasis_args"));
  }
  if (flow.bridge) {
    v1::Bridge& bridge = *out.mutable_bridge();
    bridge.set_id(text.Name(flow.bridge->id, "flow.bridge.id"));
    bridge.set_name(text.Name(flow.bridge->name, "flow.bridge.name"));
    bridge.set_type(text.Name(flow.bridge->type, "flow.bridge.type"));
    bridge.set_technology(ProtoText::Prose(flow.bridge->technology));
    bridge.set_conference(flow.bridge->conference);
  }
  if (flow.playback) {
    const Playback& from = *flow.playback;
    v1::Playback& playback = *out.mutable_playback();
    playback.set_id(text.Name(from.id, "flow.playback.id"));
    for (const std::string& media : from.media) {
      playback.add_media(text.Name(media, "flow.playback.media"));
    }
    playback.set_item(static_cast<std::uint32_t>(
        std::min<std::size_t>(from.item, std::numeric_limits<std::uint32_t>::max())));
    *playback.mutable_item_started() = ToProto(from.item_started);
    *playback.mutable_skipped() = ToProto(from.skipped);
    playback.set_paused(from.paused);
    *playback.mutable_paused_at() = ToProto(from.paused_at);
    playback.set_language(text.Name(from.language, "flow.playback.language"));
    playback.set_on_bridge(from.on_bridge);
  }
  for (const Recording& from : flow.recordings) {
    v1::Recording& recording = *out.add_recordings();
    recording.set_name(text.Name(from.name, "flow.recordings.name"));
    recording.set_format(text.Name(from.format, "flow.recordings.format"));
    recording.set_on_bridge(from.on_bridge);
    for (const std::string& part : from.earlier_parts) {
      recording.add_earlier_parts(text.Name(part, "flow.recordings.earlier_parts"));
    }
  }
  out.set_held_by_us(flow.held_by_us);
  out.set_held_by_peer(flow.held_by_peer);
  out.set_music_on_hold(flow.music_on_hold);
  out.set_muted_in(flow.muted_in);
  out.set_muted_out(flow.muted_out);
  v1::DialplanLocation& dialplan = *out.mutable_dialplan();
  dialplan.set_context(text.Name(flow.dialplan.context, "flow.dialplan.context"));
  dialplan.set_extension(text.Name(flow.dialplan.extension, "flow.dialplan.extension"));
  dialplan.set_priority(flow.dialplan.priority);
  dialplan.set_application(ProtoText::Prose(flow.dialplan.application));
  dialplan.set_application_data(ProtoText::Prose(flow.dialplan.application_data));
  out.set_host_data(flow.host_data);
  return out;
}

v1::SessionState ToProto(SessionState state) {
  switch (state) {
    case SessionState::kRinging:
      return v1::SESSION_STATE_RINGING;
    case SessionState::kUp:
      return v1::SESSION_STATE_UP;
    case SessionState::kEnded:
      return v1::SESSION_STATE_ENDED;
  }
  return v1::SESSION_STATE_UNSPECIFIED;
}

}  // namespace

google::protobuf::Timestamp ToProto(WallTime time) {
  const std::int64_t micros = time.time_since_epoch().count();
  std::int64_t seconds = micros / kMicros;
  std::int64_t rest = micros % kMicros;
  if (rest < 0) {
    rest += kMicros;
    --seconds;
  }
  google::protobuf::Timestamp out;
  if (seconds < kFirstSecond || seconds > kLastSecond) {
    out.set_seconds(seconds < kFirstSecond ? kFirstSecond : kLastSecond);
    return out;
  }
  out.set_seconds(seconds);
  out.set_nanos(static_cast<std::int32_t>(rest * 1'000));
  return out;
}

google::protobuf::Duration ToProto(milliseconds duration) {
  google::protobuf::Duration out;
  out.set_seconds(std::clamp(duration.count() / 1'000, -kLongestSeconds, kLongestSeconds));
  out.set_nanos(static_cast<std::int32_t>(duration.count() % 1'000 * 1'000'000));
  return out;
}

std::optional<WallTime> FromProto(const google::protobuf::Timestamp& time) {
  if (time.seconds() < kFirstSecond || time.seconds() > kLastSecond || time.nanos() < 0 ||
      time.nanos() > 999'999'999) {
    return std::nullopt;
  }
  return WallTime(std::chrono::microseconds(time.seconds() * kMicros + time.nanos() / 1'000));
}

std::optional<milliseconds> FromProto(const google::protobuf::Duration& duration) {
  const std::int64_t seconds = duration.seconds();
  const std::int32_t nanos = duration.nanos();
  const bool mixed = (seconds > 0 && nanos < 0) || (seconds < 0 && nanos > 0);
  if (seconds < -kLongestSeconds || seconds > kLongestSeconds || nanos < -999'999'999 ||
      nanos > 999'999'999 || mixed) {
    return std::nullopt;
  }
  return milliseconds(seconds * 1'000 + nanos / 1'000'000);
}

v1::Incarnation ToProto(const Incarnation& incarnation, ProtoText& text) {
  v1::Incarnation out;
  out.set_instance(text.Name(incarnation.instance, "incarnation.instance"));
  out.set_life(text.Name(incarnation.life, "incarnation.life"));
  return out;
}

v1::Session ToProto(const Session& session, ProtoText& text) {
  v1::Session out;
  out.set_id(text.Name(session.id, "id"));
  out.set_epoch(session.epoch);
  *out.mutable_incarnation() = ToProto(session.incarnation, text);
  out.set_state(ToProto(session.state));
  out.set_call_id(session.call_id);
  out.set_local_tag(session.local_tag);
  out.set_remote_tag(session.remote_tag);
  out.set_channel_id(text.Name(session.channel_id, "channel_id"));
  out.set_channel_name(text.Name(session.channel_name, "channel_name"));
  out.set_endpoint(text.Name(session.endpoint, "endpoint"));
  out.set_group(text.Name(session.group, "group"));
  *out.mutable_created_at() = ToProto(session.created_at);
  if (session.answered_at) SetTime(session.answered_at, out.mutable_answered_at());
  if (session.ends_at) SetTime(session.ends_at, out.mutable_ends_at());
  out.set_opted_out(!session.recover);
  if (session.recovered_at) SetTime(session.recovered_at, out.mutable_recovered_at());
  out.set_deaths(session.deaths);
  *out.mutable_flow() = FlowToProto(session.flow, text);
  return out;
}

v1::Crash ToProto(const CrashEvent& crash) {
  ProtoText text;
  v1::Crash out;
  *out.mutable_incarnation() = ToProto(crash.incarnation, text);
  out.set_kind(std::string(ToString(crash.kind)));
  *out.mutable_last_alive() = ToProto(crash.last_alive);
  *out.mutable_detected_at() = ToProto(crash.detected_at);
  for (const std::string& sentence : crash.evidence) out.add_evidence(ToUtf8(sentence));
  out.set_detector(ToUtf8(crash.detector));
  return out;
}

v1::RecoveryStage ToProto(RecoveryStage stage) {
  switch (stage) {
    case RecoveryStage::kLost:
      return v1::RECOVERY_STAGE_LOST;
    case RecoveryStage::kClaimed:
      return v1::RECOVERY_STAGE_CLAIMED;
    case RecoveryStage::kRebuilt:
      return v1::RECOVERY_STAGE_REBUILT;
    case RecoveryStage::kPlaced:
      return v1::RECOVERY_STAGE_PLACED;
    case RecoveryStage::kInviting:
      return v1::RECOVERY_STAGE_INVITING;
    case RecoveryStage::kAnswered:
      return v1::RECOVERY_STAGE_ANSWERED;
    case RecoveryStage::kResumed:
      return v1::RECOVERY_STAGE_RESUMED;
    case RecoveryStage::kEnding:
      return v1::RECOVERY_STAGE_ENDING;
    case RecoveryStage::kFinished:
      return v1::RECOVERY_STAGE_FINISHED;
  }
  return v1::RECOVERY_STAGE_UNSPECIFIED;
}

v1::Outcome ToProto(Outcome outcome) {
  switch (outcome) {
    case Outcome::kRecovered:
      return v1::OUTCOME_RECOVERED;
    case Outcome::kEnded:
      return v1::OUTCOME_ENDED;
    case Outcome::kClosed:
      return v1::OUTCOME_CLOSED;
    case Outcome::kExpired:
      return v1::OUTCOME_EXPIRED;
    case Outcome::kQuarantined:
      return v1::OUTCOME_QUARANTINED;
  }
  return v1::OUTCOME_UNSPECIFIED;
}

v1::Recovery ToProto(const RecoveryReport& report) {
  ProtoText text;
  v1::Recovery out;
  out.set_session_id(text.Name(report.session.id, "session_id"));
  out.set_epoch(report.session.epoch);
  out.set_call_id(report.call_id);
  out.set_endpoint(ToUtf8(report.endpoint));
  *out.mutable_from() = ToProto(report.from, text);
  if (!report.to.instance.empty()) *out.mutable_to() = ToProto(report.to, text);
  out.set_channel_id(ToUtf8(report.channel_id));
  out.set_attempts(report.attempts);
  out.set_stage(ToProto(report.stage));
  if (report.outcome) out.set_outcome(ToProto(*report.outcome));
  out.set_reason(ToUtf8(report.reason));
  out.set_verdict(ToUtf8(report.verdict));
  for (const std::string& reason : report.verdict_reasons) out.add_verdict_reasons(ToUtf8(reason));
  if (report.invited_at) SetTime(report.invited_at, out.mutable_invited_at());
  if (report.answered_at) SetTime(report.answered_at, out.mutable_answered_at());
  if (report.finished_at) SetTime(report.finished_at, out.mutable_finished_at());
  return out;
}

v1::RecoveryStep ToProto(const JournalEntry& entry) {
  ProtoText text;
  v1::RecoveryStep out;
  out.set_epoch(entry.session.epoch);
  out.set_stage(ToProto(entry.stage));
  *out.mutable_at() = ToProto(entry.at);
  out.set_attempt(entry.attempt);
  if (!entry.target.instance.empty()) *out.mutable_target() = ToProto(entry.target, text);
  out.set_channel_id(ToUtf8(entry.channel_id));
  out.set_cseq(entry.cseq);
  out.set_reason(ToUtf8(entry.reason));
  if (entry.outcome) out.set_outcome(ToProto(*entry.outcome));
  return out;
}

v1::WatchEventsResponse ToProto(const RecoveryEvent& event) {
  v1::WatchEventsResponse out;
  *out.mutable_at() = ToProto(event.at);
  switch (event.kind) {
    case RecoveryEvent::Kind::kCrash:
      *out.mutable_crash() = ToProto(event.crash);
      break;
    case RecoveryEvent::Kind::kStep:
      *out.mutable_step() = ToProto(event.recovery);
      break;
    case RecoveryEvent::Kind::kOutcome:
      *out.mutable_outcome() = ToProto(event.recovery);
      break;
    case RecoveryEvent::Kind::kDone: {
      v1::CrashDone& done = *out.mutable_done();
      *done.mutable_crash() = ToProto(event.crash);
      done.set_sessions(event.sessions);
      done.set_taken_by_others(event.taken_by_others);
      for (const auto& [outcome, sessions] : event.outcomes) {
        v1::OutcomeCount& count = *done.add_outcomes();
        count.set_outcome(ToProto(outcome));
        count.set_sessions(sessions);
      }
      break;
    }
    case RecoveryEvent::Kind::kReturned: {
      ProtoText text;
      *out.mutable_returned() = ToProto(event.incarnation, text);
      break;
    }
  }
  return out;
}

}  // namespace sipheal::inline v0_1::internal
