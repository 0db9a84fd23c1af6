// SPDX-License-Identifier: Apache-2.0
#include "cli/dialogs_json.h"

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/utf8.h"
#include "sipheal/sip/next_request.h"
#include "sipheal/sip/takeover_plan.h"

namespace sipheal::inline v0_1::cli {
namespace {

using Json = nlohmann::ordered_json;

// Makes the JSON of one dialog, and notes whether any text of it was no UTF-8.
class Writer {
 public:
  Writer(const sip::DialogState& dialog, sip::CaptureTime now) : dialog_(dialog), now_(now) {}
  Json Dialog(const sip::Verdict& verdict);

 private:
  Json Text(std::string_view text) {
    std::string utf8;
    while (!text.empty()) {
      char32_t code = 0;
      if (const std::size_t length = internal::DecodeUtf8(text, code); length > 0) {
        utf8.append(text.substr(0, length));
        text.remove_prefix(length);
        continue;
      }
      const auto byte = static_cast<unsigned char>(text.front());
      utf8.push_back(static_cast<char>(0xc0 | byte >> 6));
      utf8.push_back(static_cast<char>(0x80 | (byte & 0x3f)));
      text.remove_prefix(1);
      not_utf8_ = true;
    }
    return utf8;
  }
  Json TextOrNull(std::string_view text) { return text.empty() ? Json() : Text(text); }
  Json Texts(const std::vector<std::string>& texts) {
    Json list = Json::array();
    for (const std::string& text : texts) list.push_back(Text(text));
    return list;
  }
  template <typename Number>
  static Json NumberOrNull(const std::optional<Number>& number) {
    return number.has_value() ? Json(*number) : Json();
  }
  static Json Time(sip::CaptureTime time) { return time.time_since_epoch().count(); }
  Json Party(const sip::DialogParty& party) {
    return {{"uri", TextOrNull(party.uri)},
            {"display", TextOrNull(party.display)},
            {"tag", TextOrNull(party.tag)}};
  }
  static Json Frame(const sip::MessageRef& message) {
    return message.sequence != 0 ? Json(message.sequence) : Json();
  }
  Json Sdp(const sip::SdpSummary& sdp);
  Json Timer() const;
  Json OpenTransactions();
  Json Proof();
  Json Conflicts();
  Json Variables();
  Json Usages();
  Json Links();
  Json Plan();

  const sip::DialogState& dialog_;
  sip::CaptureTime now_;
  bool not_utf8_ = false;
};

Json Writer::Sdp(const sip::SdpSummary& sdp) {
  if (sdp.empty()) return Json();
  Json media = Json::array();
  for (const sip::SdpMedia& line : sdp.media) {
    media.push_back({{"type", Text(line.type)},
                     {"port", line.port},
                     {"protocol", Text(line.protocol)},
                     {"formats", Text(line.formats)},
                     {"rtpmaps", Text(line.rtpmaps)},
                     {"address", Text(line.address.empty() ? sdp.address : line.address)},
                     {"direction", sip::ToString(line.direction)}});
  }
  return {{"origin", Text(sdp.Origin())},
          {"media", std::move(media)},
          {"direction", sip::ToString(sdp.direction)}};
}

Json Writer::Timer() const {
  const sip::SessionTimer& timer = dialog_.session_timer;
  if (!timer.active()) return {};
  return {{"interval", timer.interval.count()},
          {"refresher", timer.local_refreshes ? "local" : "remote"},
          {"expires_at", Time(timer.expires_at)}};
}

Json Writer::OpenTransactions() {
  Json list = Json::array();
  for (const sip::OpenTransaction& open : dialog_.open_transactions) {
    list.push_back({{"method", Text(open.method)},
                    {"cseq", open.cseq},
                    {"sent_by", open.sent_by_server ? "local" : "remote"},
                    {"awaits_ack", open.awaits_ack},
                    {"frame", Frame(open.request)},
                    {"expires_at", open.expires_at ? Time(*open.expires_at) : Json()}});
  }
  return list;
}

// The message and the reason of each field, and of what is made from several.
Json Writer::Proof() {
  Json evidence = Json::object();
  for (const sip::Evidence& entry : dialog_.evidence) {
    evidence[std::string(sip::ToString(entry.field))] = {{"frame", Frame(entry.message)},
                                                         {"why", Text(entry.Why())}};
  }
  const auto add = [&](const char* key, const sip::Evidence* from, const std::string& why) {
    evidence[key] = {{"frame", from != nullptr ? Frame(from->message) : Json()},
                     {"why", Text(why)}};
  };
  const sip::Evidence* const target = dialog_.FindEvidence(sip::Field::kRemoteTarget);
  const sip::Evidence* const route_set = dialog_.FindEvidence(sip::Field::kRouteSet);
  if (const auto request = sip::NextRequest(dialog_); request.ok()) {
    // With a strict router the Request-URI is the first of the route set (RFC 3261 12.2.1.1).
    const bool strict = request->route.size() == dialog_.route_set.size() &&
                        !dialog_.route_set.empty() && request->route != dialog_.route_set;
    add("request_uri", strict ? route_set : target,
        strict ? "the first of the route set, a strict router (RFC 3261 12.2.1.1)"
               : "the remote target (RFC 3261 12.2.1.1)");
    add("route", route_set,
        strict ? "the rest of the route set, then the remote target (RFC 3261 12.2.1.1)"
               : "the route set (RFC 3261 12.2.1.1)");
  }
  if (sip::NextCseq(dialog_, {}, now_).ok()) {
    const bool counted = dialog_.local_seq.has_value();
    add("next_cseq", dialog_.FindEvidence(sip::Field::kLocalSeq),
        counted ? "above local_cseq, with head-room for requests that were not captured"
                : "by the clock: no request of the server was captured");
  }
  if (dialog_.deadline && dialog_.FindEvidence(sip::Field::kDeadline) == nullptr) {
    // A dialog that an older release stored.
    add("deadline", nullptr, dialog_.deadline_reason);
  }
  return evidence;
}

Json Writer::Conflicts() {
  Json conflicts = Json::array();
  for (const sip::Conflict& conflict : dialog_.conflicts) {
    conflicts.push_back({{"field", sip::ToString(conflict.field)},
                         {"frame", Frame(conflict.message)},
                         {"loser", Text(conflict.loser)},
                         {"why", Text(conflict.reason)},
                         {"undecided", conflict.undecided}});
  }
  return conflicts;
}

Json Writer::Variables() {
  Json variables = Json::object();
  sip::RecoveryOptions options;
  options.now = now_;
  if (const auto made = sip::RecoveryVariables(dialog_, options); made.ok()) {
    for (const auto& [name, value] : *made) variables[name] = Text(value);
  }
  return variables;
}

Json Writer::Usages() {
  Json list = Json::array();
  for (const sip::DialogUsage& usage : dialog_.usages) {
    list.push_back({{"event", Text(usage.event)},
                    {"id", TextOrNull(usage.id)},
                    {"subscriber", usage.server_subscribes ? "local" : "remote"},
                    {"active", usage.active},
                    {"frame", Frame(usage.message)},
                    {"expires_at", usage.expires_at ? Time(*usage.expires_at) : Json()}});
  }
  return list;
}

Json Writer::Links() {
  Json list = Json::array();
  for (const sip::DialogLink& link : dialog_.links) {
    list.push_back({{"call_id", Text(link.call_id)},
                    {"local_tag", TextOrNull(link.local_tag)},
                    {"remote_tag", TextOrNull(link.remote_tag)},
                    {"why", Text(link.reason)}});
  }
  return list;
}

Json Writer::Plan() {
  const sip::TakeoverPlan plan = sip::PlanTakeover(dialog_);
  return {
      {"request", sip::ToString(plan.request)},
      {"targets", Texts(plan.targets)},
      {"ack_first", NumberOrNull(plan.ack_first)},
      {"may_cancel", NumberOrNull(plan.may_cancel)},
      {"expect_glare", plan.expect_glare},
      {"glare_wait_ms",
       plan.expect_glare ? Json{plan.glare_wait_min.count(), plan.glare_wait_max.count()} : Json()},
      {"reasons", Texts(plan.reasons)}};
}

std::string_view HeldBy(const sip::DialogState& dialog) {
  if (dialog.held_by_local) return dialog.held_by_remote ? "both" : "local";
  return dialog.held_by_remote ? "remote" : "none";
}

Json Writer::Dialog(const sip::Verdict& verdict) {
  Json json;
  json["call_id"] = Text(dialog_.call_id);
  json["role"] = sip::ToString(dialog_.role);
  json["state"] = sip::ToString(dialog_.phase);
  json["verdict"] = sip::ToString(verdict.token);
  json["reasons"] = Texts(verdict.reasons);
  json["local"] = Party(dialog_.local);
  json["remote"] = Party(dialog_.remote);
  json["local_cseq"] = NumberOrNull(dialog_.local_seq);
  json["remote_cseq"] = NumberOrNull(dialog_.remote_seq);
  const absl::StatusOr<std::uint32_t> next = sip::NextCseq(dialog_, {}, now_);
  json["next_cseq"] = next.ok() ? Json(*next) : Json();
  json["route_set"] = Texts(dialog_.route_set);
  json["remote_target"] = TextOrNull(dialog_.remote_target);
  const absl::StatusOr<sip::RequestTarget> request = sip::NextRequest(dialog_);
  json["request_uri"] = request.ok() ? Text(request->request_uri) : Json();
  json["route"] = request.ok() ? Texts(request->route) : Json::array();
  json["transport"] = sip::ToString(dialog_.transport);
  json["next_hop"] = TextOrNull(dialog_.next_hop.ToString());
  json["secure"] = dialog_.secure;
  json["session_timer"] = Timer();
  json["local_sdp"] = Sdp(dialog_.local_sdp);
  json["remote_sdp"] = Sdp(dialog_.remote_sdp);
  json["open_transactions"] = OpenTransactions();
  json["deadline"] = dialog_.deadline ? Time(*dialog_.deadline) : Json();
  json["evidence"] = Proof();
  json["conflicts"] = Conflicts();
  Json missing = Json::array();
  for (const sip::Field field : dialog_.missing) missing.push_back(sip::ToString(field));
  json["missing"] = std::move(missing);
  json["variables"] = Variables();

  json["end"] = sip::ToString(dialog_.end);
  json["hold"] = HeldBy(dialog_);
  json["local_target"] = TextOrNull(dialog_.local_target);
  json["pending_remote_target"] = TextOrNull(dialog_.pending_remote_target);
  json["observed_source"] = TextOrNull(dialog_.observed_source.ToString());
  json["record_route"] = Texts(dialog_.record_route);
  json["usages"] = Usages();
  json["links"] = Links();
  json["resync_needed"] = dialog_.resync_needed;
  json["redirect_targets"] = Texts(dialog_.redirect_targets);
  json["plan"] = Plan();
  json["last_seen"] = Time(dialog_.last_seen);
  json["warnings"] = Texts(dialog_.warnings);
  json["quarantined"] = dialog_.quarantined;
  json["not_utf8"] = not_utf8_;
  return json;
}

}  // namespace

nlohmann::ordered_json DialogJson(const sip::DialogState& dialog, const sip::Verdict& verdict,
                                  sip::CaptureTime now) {
  return Writer(dialog, now).Dialog(verdict);
}

}  // namespace sipheal::inline v0_1::cli
