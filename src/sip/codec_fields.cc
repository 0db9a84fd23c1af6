// SPDX-License-Identifier: Apache-2.0
#include "sip/codec_fields.h"

#include <algorithm>
#include <iterator>

#include "sip/codec_values.h"

namespace sipheal::inline v0_1::sip::codec {
namespace {

constexpr FieldCodec kFields[] = {
    {kCallId, [](ByteWriter& w, const DialogState& d) { w.Text(d.call_id); },
     [](ByteReader& r, DialogState& d) { d.call_id = r.Text(); }, Field::kCallId},
    {kLocal, [](ByteWriter& w, const DialogState& d) { Put(w, d.local); },
     [](ByteReader& r, DialogState& d) { Get(r, d.local); }, Field::kLocalTag},
    {kRemote, [](ByteWriter& w, const DialogState& d) { Put(w, d.remote); },
     [](ByteReader& r, DialogState& d) { Get(r, d.remote); }, Field::kRemoteTag},
    {kKind,
     [](ByteWriter& w, const DialogState& d) {
       w.Number(static_cast<std::uint64_t>(d.role));
       w.Number(static_cast<std::uint64_t>(d.phase));
       w.Number(static_cast<std::uint64_t>(d.end));
       w.Flag(d.secure);
     },
     [](ByteReader& r, DialogState& d) {
       d.role = r.Enum(DialogRole::kUas);
       d.phase = r.Enum(DialogPhase::kTerminated);
       d.end = r.Enum(DialogEnd::kReplaced);
       d.secure = r.Flag();
     },
     Field::kPhase},
    {kLocalSeq, [](ByteWriter& w, const DialogState& d) { PutSeq(w, d.local_seq); },
     [](ByteReader& r, DialogState& d) { GetSeq(r, d.local_seq); }, Field::kLocalSeq},
    {kRemoteSeq, [](ByteWriter& w, const DialogState& d) { PutSeq(w, d.remote_seq); },
     [](ByteReader& r, DialogState& d) { GetSeq(r, d.remote_seq); }, std::nullopt},
    {kRoutes,
     [](ByteWriter& w, const DialogState& d) {
       w.Texts(d.route_set);
       w.Texts(d.record_route);
     },
     [](ByteReader& r, DialogState& d) {
       r.Texts(d.route_set);
       r.Texts(d.record_route);
     },
     Field::kRouteSet},
    {kTargets,
     [](ByteWriter& w, const DialogState& d) {
       w.Text(d.remote_target);
       w.Text(d.pending_remote_target);
       w.Text(d.contact_target);
       w.Text(d.local_target);
     },
     [](ByteReader& r, DialogState& d) {
       d.remote_target = r.Text();
       d.pending_remote_target = r.Text();
       d.contact_target = r.Text();
       d.local_target = r.Text();
     },
     Field::kRemoteTarget},
    {kTransportTag,
     [](ByteWriter& w, const DialogState& d) {
       w.Number(static_cast<std::uint64_t>(d.transport));
       Put(w, d.next_hop);
       Put(w, d.observed_source);
       w.Flag(d.flow_held_by_server);
     },
     [](ByteReader& r, DialogState& d) {
       d.transport = r.Enum(Transport::kWss);
       Get(r, d.next_hop);
       Get(r, d.observed_source);
       d.flow_held_by_server = r.Flag();
     },
     // Whether the flow died with the server is then not known.
     Field::kInviteUsage},
    {kSeenHosts, [](ByteWriter& w, const DialogState& d) { PutList(w, d.seen_hosts); },
     [](ByteReader& r, DialogState& d) { GetList(r, d.seen_hosts); }, std::nullopt},
    {kLocalSdp,
     [](ByteWriter& w, const DialogState& d) {
       Put(w, d.local_sdp);
       w.Text(d.highest_local_sdp_version);
     },
     [](ByteReader& r, DialogState& d) {
       Get(r, d.local_sdp);
       d.highest_local_sdp_version = r.Text();
     },
     Field::kLocalSdp},
    {kRemoteSdp, [](ByteWriter& w, const DialogState& d) { Put(w, d.remote_sdp); },
     [](ByteReader& r, DialogState& d) { Get(r, d.remote_sdp); }, Field::kRemoteSdp},
    {kSession,
     [](ByteWriter& w, const DialogState& d) {
       w.Flag(d.held_by_local);
       w.Flag(d.held_by_remote);
       w.Flag(d.media_security.sdes);
       w.Flag(d.media_security.dtls);
       w.Flag(d.media_security.ice);
     },
     [](ByteReader& r, DialogState& d) {
       d.held_by_local = r.Flag();
       d.held_by_remote = r.Flag();
       d.media_security.sdes = r.Flag();
       d.media_security.dtls = r.Flag();
       d.media_security.ice = r.Flag();
     },
     // Whether the media is encrypted is then not known.
     Field::kInviteUsage},
    {kTimer,
     [](ByteWriter& w, const DialogState& d) {
       w.Number(static_cast<std::uint64_t>(d.session_timer.interval.count()));
       w.Flag(d.session_timer.local_refreshes);
       w.Time(d.session_timer.since);
       w.Time(d.session_timer.expires_at);
       PutTime(w, d.deadline);
       w.Text(d.deadline_reason);
     },
     [](ByteReader& r, DialogState& d) {
       d.session_timer.interval = std::chrono::seconds(r.Below(0xffffffffu));
       d.session_timer.local_refreshes = r.Flag();
       d.session_timer.since = r.Time();
       d.session_timer.expires_at = r.Time();
       GetTime(r, d.deadline);
       d.deadline_reason = r.Text();
     },
     Field::kSessionTimer},
    {kOpen, [](ByteWriter& w, const DialogState& d) { PutList(w, d.open_transactions); },
     [](ByteReader& r, DialogState& d) { GetList(r, d.open_transactions); }, std::nullopt},
    {kAbilities,
     [](ByteWriter& w, const DialogState& d) {
       w.Text(d.remote_supported);
       w.Text(d.remote_allow);
     },
     [](ByteReader& r, DialogState& d) {
       d.remote_supported = r.Text();
       d.remote_allow = r.Text();
     },
     std::nullopt},
    {kTimes,
     [](ByteWriter& w, const DialogState& d) {
       w.Time(d.created_at);
       w.Time(d.confirmed_at);
       w.Time(d.last_seen);
     },
     [](ByteReader& r, DialogState& d) {
       d.created_at = r.Time();
       d.confirmed_at = r.Time();
       d.last_seen = r.Time();
     },
     std::nullopt},
    {kEvidence, [](ByteWriter& w, const DialogState&) { w.Number(0); },
     [](ByteReader& r, DialogState& d) { GetSentences(r, d.evidence); }, std::nullopt,
     Written::kByOlder},
    {kConflicts, [](ByteWriter& w, const DialogState& d) { PutList(w, d.conflicts); },
     [](ByteReader& r, DialogState& d) { GetList(r, d.conflicts); }, std::nullopt},
    {kNotes,
     [](ByteWriter& w, const DialogState& d) {
       w.Number(d.missing.size());
       for (Field field : d.missing) w.Number(static_cast<std::uint64_t>(field));
       w.Texts(d.warnings);
       w.Number(d.quarantined);
       w.Flag(d.limits_reached);
       w.Flag(d.from_stored_state);
     },
     [](ByteReader& r, DialogState& d) {
       d.missing.clear();
       for (std::uint64_t left = r.Below(kMaxList); left > 0 && r.ok(); --left) {
         d.missing.push_back(r.Enum(kLastField));
       }
       r.Texts(d.warnings);
       d.quarantined = r.Number32();
       d.limits_reached = r.Flag();
       d.from_stored_state = r.Flag();
     },
     // What was missing is then not known.
     Field::kInviteUsage},
    {kUsages,
     [](ByteWriter& w, const DialogState& d) {
       PutList(w, d.usages);
       w.Flag(d.resync_needed);
       w.Texts(d.redirect_targets);
     },
     [](ByteReader& r, DialogState& d) {
       GetList(r, d.usages);
       d.resync_needed = r.Flag();
       r.Texts(d.redirect_targets);
     },
     std::nullopt, Written::kByLater},
    {kLinks,
     [](ByteWriter& w, const DialogState& d) {
       PutList(w, d.links);
       w.Text(d.references.replaces);
       w.Text(d.references.session_id);
       w.Text(d.references.charging_id);
       w.Text(d.references.other_call_id);
       PutList(w, d.references.told);
     },
     [](ByteReader& r, DialogState& d) {
       GetList(r, d.links);
       d.references.replaces = r.Text();
       d.references.session_id = r.Text();
       d.references.charging_id = r.Text();
       d.references.other_call_id = r.Text();
       GetList(r, d.references.told);
     },
     std::nullopt, Written::kByLater},
    {kPace,
     [](ByteWriter& w, const DialogState& d) {
       w.Number(static_cast<std::uint64_t>(d.local_pace.count()));
       w.Number(static_cast<std::uint64_t>(d.session_timer.min_interval.count()));
     },
     [](ByteReader& r, DialogState& d) {
       d.local_pace = std::chrono::microseconds(static_cast<std::int64_t>(r.Number()));
       d.session_timer.min_interval = std::chrono::seconds(r.Below(0xffffffffu));
     },
     std::nullopt, Written::kByLater},
    {kProofs, [](ByteWriter& w, const DialogState& d) { PutList(w, d.evidence); },
     [](ByteReader& r, DialogState& d) { GetList(r, d.evidence); }, std::nullopt,
     Written::kByLater},
};
constexpr std::size_t kWritten = static_cast<std::size_t>(
    std::count_if(std::begin(kFields), std::end(kFields),
                  [](const FieldCodec& field) { return field.written != Written::kByOlder; }));

}  // namespace

std::span<const FieldCodec> Fields() { return kFields; }
std::size_t FieldsWritten() { return kWritten; }

}  // namespace sipheal::inline v0_1::sip::codec
