// SPDX-License-Identifier: Apache-2.0
#include "sip/codec_fields.h"

#include <algorithm>
#include <iterator>

#include "sip/codec_values.h"

namespace sipheal::inline v0_1::sip::codec {
namespace {

// `code(coder, dialog)` is for both directions.
template <typename Both>
constexpr FieldCodec FieldOf(Tag tag, Both, std::optional<Field> needed,
                             Written written = Written::kByAll) {
  return {tag, [](ByteWriter& w, const DialogState& d) { Both{}(w, d); },
          [](ByteReader& r, DialogState& d) { Both{}(r, d); }, needed, written};
}

constexpr FieldCodec kFields[] = {
    FieldOf(
        kCallId, [](auto& coder, auto& d) { Code(coder, d.call_id); }, Field::kCallId),
    FieldOf(
        kLocal, [](auto& coder, auto& d) { Code(coder, d.local); }, Field::kLocalTag),
    FieldOf(
        kRemote, [](auto& coder, auto& d) { Code(coder, d.remote); }, Field::kRemoteTag),
    FieldOf(
        kKind,
        [](auto& coder, auto& d) {
          CodeEnum(coder, d.role, DialogRole::kUas);
          CodeEnum(coder, d.phase, DialogPhase::kTerminated);
          CodeEnum(coder, d.end, DialogEnd::kReplaced);
          Code(coder, d.secure);
        },
        Field::kPhase),
    FieldOf(
        kLocalSeq, [](auto& coder, auto& d) { Code(coder, d.local_seq); }, Field::kLocalSeq),
    FieldOf(
        kRemoteSeq, [](auto& coder, auto& d) { Code(coder, d.remote_seq); }, std::nullopt),
    FieldOf(
        kRoutes, [](auto& coder, auto& d) { CodeAll(coder, d.route_set, d.record_route); },
        Field::kRouteSet),
    FieldOf(
        kTargets,
        [](auto& coder, auto& d) {
          CodeAll(coder, d.remote_target, d.pending_remote_target, d.contact_target,
                  d.local_target);
        },
        Field::kRemoteTarget),
    FieldOf(
        kTransportTag,
        [](auto& coder, auto& d) {
          CodeEnum(coder, d.transport, Transport::kWss);
          CodeAll(coder, d.next_hop, d.observed_source, d.flow_held_by_server);
        },
        // Whether the flow died with the server is then not known.
        Field::kInviteUsage),
    FieldOf(
        kSeenHosts, [](auto& coder, auto& d) { Code(coder, d.seen_hosts); }, std::nullopt),
    FieldOf(
        kLocalSdp,
        [](auto& coder, auto& d) { CodeAll(coder, d.local_sdp, d.highest_local_sdp_version); },
        Field::kLocalSdp),
    FieldOf(
        kRemoteSdp, [](auto& coder, auto& d) { Code(coder, d.remote_sdp); }, Field::kRemoteSdp),
    FieldOf(
        kSession,
        [](auto& coder, auto& d) {
          CodeAll(coder, d.held_by_local, d.held_by_remote, d.media_security.sdes,
                  d.media_security.dtls, d.media_security.ice);
        },
        // Whether the media is encrypted is then not known.
        Field::kInviteUsage),
    FieldOf(
        kTimer,
        [](auto& coder, auto& d) {
          auto& timer = d.session_timer;
          CodeAll(coder, timer.interval, timer.local_refreshes, timer.since, timer.expires_at,
                  d.deadline, d.deadline_reason);
        },
        Field::kSessionTimer),
    FieldOf(
        kOpen, [](auto& coder, auto& d) { Code(coder, d.open_transactions); }, std::nullopt),
    FieldOf(
        kAbilities,
        [](auto& coder, auto& d) { CodeAll(coder, d.remote_supported, d.remote_allow); },
        std::nullopt),
    FieldOf(
        kTimes,
        [](auto& coder, auto& d) { CodeAll(coder, d.created_at, d.confirmed_at, d.last_seen); },
        std::nullopt),
    {kEvidence, [](ByteWriter& w, const DialogState&) { w.Number(0); },
     [](ByteReader& r, DialogState& d) { ReadSentences(r, d.evidence); }, std::nullopt,
     Written::kByOlder},
    FieldOf(
        kConflicts, [](auto& coder, auto& d) { Code(coder, d.conflicts); }, std::nullopt),
    FieldOf(
        kNotes,
        [](auto& coder, auto& d) {
          CodeAll(coder, d.missing, d.warnings, d.quarantined, d.limits_reached,
                  d.from_stored_state);
        },
        // What was missing is then not known.
        Field::kInviteUsage),
    FieldOf(
        kUsages,
        [](auto& coder, auto& d) { CodeAll(coder, d.usages, d.resync_needed, d.redirect_targets); },
        std::nullopt, Written::kByLater),
    FieldOf(
        kLinks,
        [](auto& coder, auto& d) {
          auto& references = d.references;
          CodeAll(coder, d.links, references.replaces, references.session_id,
                  references.charging_id, references.other_call_id, references.told);
        },
        std::nullopt, Written::kByLater),
    FieldOf(
        kPace,
        [](auto& coder, auto& d) { CodeAll(coder, d.local_pace, d.session_timer.min_interval); },
        std::nullopt, Written::kByLater),
    FieldOf(
        kProofs, [](auto& coder, auto& d) { Code(coder, d.evidence); }, std::nullopt,
        Written::kByLater),
};
constexpr std::size_t kWritten = static_cast<std::size_t>(
    std::count_if(std::begin(kFields), std::end(kFields),
                  [](const FieldCodec& field) { return field.written != Written::kByOlder; }));

}  // namespace

std::span<const FieldCodec> Fields() { return kFields; }
std::size_t FieldsWritten() { return kWritten; }

}  // namespace sipheal::inline v0_1::sip::codec
