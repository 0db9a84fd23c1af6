// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <optional>
#include <tuple>
#include <utility>

#include "absl/strings/str_format.h"
#include "base/utf8.h"
#include "sip/printable.h"
#include "sip/server_match.h"
#include "sipheal/sip/explain.h"
#include "sipheal/sip/message_view.h"
#include "sipheal/sip/uri.h"

namespace sipheal::inline v0_1::sip {
namespace {

constexpr std::size_t kWidth = 46;  // from one side's bar to the other's

// The first `count` characters.
std::string Shorten(const std::string& text, std::size_t count) {
  std::size_t at = 0;
  char32_t code = 0;
  for (; count > 0 && at < text.size(); --count) {
    at += internal::DecodeUtf8(std::string_view(text).substr(at), code);
  }
  return text.substr(0, at);
}

std::size_t Characters(std::string_view text) {
  return static_cast<std::size_t>(std::count_if(
      text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) >> 6) != 2; }));
}

std::string Label(const MessageView& view) {
  std::string name = view.is_request() ? std::string(view.method_text())
                                       : absl::StrFormat("%d %s", view.status(),
                                                         std::string(view.reason_phrase()));
  std::string rest = absl::StrFormat(" (%d", view.cseq());
  if (!view.is_request()) rest += ' ' + Shorten(Printable(view.method_text()), 12);
  rest += ')';
  if (!view.body().empty() &&
      view.Get(HeaderId::kContentType).find("sdp") != std::string_view::npos) {
    rest += " SDP";
  }
  // Of a long reason phrase the end goes, not what tells the transaction.
  return Shorten(Printable(name), kWidth - 6 - Characters(rest)) + rest;
}

std::string Line(const LadderRung& rung) {
  std::string line = Clock(rung.time) + "  ";
  if (!rung.sent && !rung.received) {
    line += "[" + rung.source.ToString() + " -> " + rung.destination.ToString() + ": " +
            rung.label + "]";
  } else {
    const std::size_t dashes = kWidth - 4 - Characters(rung.label);
    const std::string left(dashes / 2, '-');
    const std::string right(dashes - dashes / 2, '-');
    line += rung.received ? "|" + left + " " + rung.label + " " + right + ">|"
                          : "|<" + left + " " + rung.label + " " + right + "|";
  }
  if (rung.sequence != 0) line += absl::StrFormat("  #%d", rung.sequence);
  return line;
}

}  // namespace

std::vector<LadderRung> LadderRungs(std::span<const CapturedMessage> messages,
                                    const ServerIdentity& server, std::string_view call_id) {
  const ServerMatcher matcher(server);
  std::vector<LadderRung> rungs;
  MessageView view;
  for (const CapturedMessage& message : messages) {
    if (!view.Parse(std::string_view(message.bytes)).ok()) continue;
    if (!call_id.empty() && view.call_id() != call_id) continue;
    std::string_view vias = view.Get(HeaderId::kVia);
    ViaView via;
    if (NextVia(&vias, &via) != ListStep::kValue) continue;
    const Adjacency adjacency = matcher.Classify(message, view, via);
    LadderRung& rung = rungs.emplace_back();
    rung.time = message.time;
    rung.sequence = message.sequence;
    rung.source = message.source;
    rung.destination = message.destination;
    rung.sent = adjacency.sent;
    rung.received = adjacency.received;
    rung.label = Label(view);
  }
  std::stable_sort(rungs.begin(), rungs.end(), [](const LadderRung& a, const LadderRung& b) {
    return std::tie(a.time, a.sequence) < std::tie(b.time, b.sequence);
  });
  return rungs;
}

std::string Ladder(std::span<const CapturedMessage> messages, const ServerIdentity& server,
                   const LadderOptions& options) {
  std::vector<std::pair<CaptureTime, std::string>> lines;
  for (const LadderRung& rung : LadderRungs(messages, server, options.call_id)) {
    lines.emplace_back(rung.time, Line(rung));
  }
  for (const LadderMark& mark : options.marks) {
    const std::string text = Printable(mark.text);
    const std::size_t size = Characters(text) + 2;
    const std::size_t stars = size < kWidth ? kWidth - size : 0;
    lines.emplace_back(mark.time, Clock(mark.time) + "  " + std::string(stars / 2, '*') + " " +
                                      text + " " + std::string(stars - stars / 2, '*'));
  }
  // A mark stands behind the messages of its time.
  std::stable_sort(lines.begin(), lines.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  std::string out(17, ' ');
  const std::string peer = Printable(options.peer_name);
  const std::string name = Printable(options.server_name);
  out += peer;
  out.append(peer.size() + name.size() < kWidth ? kWidth + 1 - peer.size() - name.size() : 1, ' ');
  out += name + '\n';
  for (const auto& [time, line] : lines) out += line + '\n';
  return out;
}

}  // namespace sipheal::inline v0_1::sip
