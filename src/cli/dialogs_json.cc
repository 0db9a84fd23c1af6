// SPDX-License-Identifier: Apache-2.0
#include "cli/dialogs_json.h"

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "sipheal/sip/next_request.h"

namespace sipheal::inline v0_1::cli {
namespace {

using Json = nlohmann::ordered_json;

// How many bytes the UTF-8 character at the front has; 0 when there is none (RFC 3629).
std::size_t Utf8Length(std::string_view text) {
  const auto byte = [&](std::size_t at) {
    return at < text.size() ? static_cast<unsigned char>(text[at]) : 0u;
  };
  const unsigned first = byte(0);
  if (first < 0x80) return 1;
  std::size_t length = 0;
  unsigned code = 0;
  unsigned least = 0;
  if (first >> 5 == 0x06) {
    length = 2, code = first & 0x1f, least = 0x80;
  } else if (first >> 4 == 0x0e) {
    length = 3, code = first & 0x0f, least = 0x800;
  } else if (first >> 3 == 0x1e) {
    length = 4, code = first & 0x07, least = 0x10000;
  } else {
    return 0;
  }
  for (std::size_t i = 1; i < length; ++i) {
    if (byte(i) >> 6 != 0x02) return 0;
    code = code << 6 | (byte(i) & 0x3f);
  }
  const bool surrogate = code >= 0xd800 && code < 0xe000;
  return code >= least && code <= 0x10ffff && !surrogate ? length : 0;
}

// Makes the JSON of one dialog, and notes whether any text of it was no UTF-8.
class Writer {
 public:
  Json Dialog(const sip::DialogState& dialog, const sip::Verdict& verdict);

 private:
  Json Text(std::string_view text) {
    std::string utf8;
    while (!text.empty()) {
      if (const std::size_t length = Utf8Length(text); length > 0) {
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
  Json Sdp(const sip::SdpSummary& sdp);
  Json OpenTransactions(const std::vector<sip::OpenTransaction>& transactions);

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

Json Writer::OpenTransactions(const std::vector<sip::OpenTransaction>& transactions) {
  Json list = Json::array();
  for (const sip::OpenTransaction& open : transactions) {
    list.push_back({{"method", Text(open.method)},
                    {"cseq", open.cseq},
                    {"sent_by", open.sent_by_server ? "local" : "remote"},
                    {"awaits_ack", open.awaits_ack},
                    {"frame", open.request.sequence},
                    {"expires_at", open.expires_at ? Time(*open.expires_at) : Json()}});
  }
  return list;
}

Json Writer::Dialog(const sip::DialogState& dialog, const sip::Verdict& verdict) {
  Json json;
  json["call_id"] = Text(dialog.call_id);
  json["role"] = sip::ToString(dialog.role);
  json["state"] = sip::ToString(dialog.phase);
  json["verdict"] = sip::ToString(verdict.token);
  json["reasons"] = Texts(verdict.reasons);
  json["local"] = Party(dialog.local);
  json["remote"] = Party(dialog.remote);
  json["local_cseq"] = NumberOrNull(dialog.local_seq);
  json["remote_cseq"] = NumberOrNull(dialog.remote_seq);
  const absl::StatusOr<std::uint32_t> next = sip::NextCseq(dialog, {}, dialog.last_seen);
  json["next_cseq"] = next.ok() ? Json(*next) : Json();
  json["route_set"] = Texts(dialog.route_set);
  json["remote_target"] = TextOrNull(dialog.remote_target);
  const absl::StatusOr<sip::RequestTarget> request = sip::NextRequest(dialog);
  json["request_uri"] = request.ok() ? Text(request->request_uri) : Json();
  json["route"] = request.ok() ? Texts(request->route) : Json::array();
  json["transport"] = sip::ToString(dialog.transport);
  json["next_hop"] = TextOrNull(dialog.next_hop.ToString());
  json["secure"] = dialog.secure;
  json["session_timer"] =
      dialog.session_timer.active()
          ? Json{{"interval", dialog.session_timer.interval.count()},
                 {"refresher", dialog.session_timer.local_refreshes ? "local" : "remote"},
                 {"expires_at", Time(dialog.session_timer.expires_at)}}
          : Json();
  json["local_sdp"] = Sdp(dialog.local_sdp);
  json["remote_sdp"] = Sdp(dialog.remote_sdp);
  json["open_transactions"] = OpenTransactions(dialog.open_transactions);
  json["deadline"] = dialog.deadline ? Time(*dialog.deadline) : Json();

  Json evidence = Json::object();
  for (const sip::Evidence& entry : dialog.evidence) {
    evidence[std::string(sip::ToString(entry.field))] = {{"frame", entry.message.sequence},
                                                         {"why", Text(entry.reason)}};
  }
  json["evidence"] = std::move(evidence);
  Json conflicts = Json::array();
  for (const sip::Conflict& conflict : dialog.conflicts) {
    conflicts.push_back({{"field", sip::ToString(conflict.field)},
                         {"frame", conflict.message.sequence},
                         {"loser", Text(conflict.loser)},
                         {"why", Text(conflict.reason)},
                         {"undecided", conflict.undecided}});
  }
  json["conflicts"] = std::move(conflicts);
  Json missing = Json::array();
  for (const sip::Field field : dialog.missing) missing.push_back(sip::ToString(field));
  json["missing"] = std::move(missing);
  json["warnings"] = Texts(dialog.warnings);

  Json variables = Json::object();
  if (const auto made = sip::RecoveryVariables(dialog); made.ok()) {
    for (const auto& [name, value] : *made) variables[name] = Text(value);
  }
  json["variables"] = std::move(variables);
  json["not_utf8"] = not_utf8_;
  return json;
}

}  // namespace

nlohmann::ordered_json DialogJson(const sip::DialogState& dialog, const sip::Verdict& verdict) {
  return Writer().Dialog(dialog, verdict);
}

}  // namespace sipheal::inline v0_1::cli
