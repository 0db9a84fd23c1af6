// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <ostream>

#include "absl/strings/str_format.h"
#include "base/utf8.h"
#include "cli/dialogs_report.h"
#include "sip/printable.h"

namespace sipheal::inline v0_1::cli {
namespace {

constexpr std::size_t kMaxParticipants = 12;
constexpr std::size_t kMaxLine = 120;  // a note is as wide as its longest line

bool IsPlain(char32_t code) {
  if (code >= 0x80) return false;
  const char c = static_cast<char>(code);
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
         std::string_view(" .,_-=()/+@").find(c) != std::string_view::npos;
}

// All but plain characters as entity codes, which Mermaid takes for what they stand for only after
// it has parsed: so they neither end a statement (; and #) nor begin a comment or HTML.
std::string Encode(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    char32_t code = 0;
    const std::size_t length = internal::DecodeUtf8(text, code);
    if (length == 0) {
      text.remove_prefix(1);
      continue;
    }
    if (IsPlain(code)) {
      out.append(text.substr(0, length));
    } else {
      out += absl::StrFormat("#%d;", static_cast<std::uint32_t>(code));
    }
    text.remove_prefix(length);
  }
  return out;
}

// Lines as a note has them: between <br/>, long ones broken, blanks as the one that is shown.
std::string NoteText(const std::string& indented) {
  std::string squeezed;
  for (const char c : indented) {
    const bool again =
        c == ' ' && (squeezed.empty() || squeezed.back() == ' ' || squeezed.back() == '\n');
    if (!again) squeezed += c;
  }
  std::string_view text = squeezed;
  std::string out;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    do {
      std::size_t size = std::min(line.size(), kMaxLine);
      // Not within a character.
      while (size < line.size() && (static_cast<unsigned char>(line[size]) >> 6) == 2) ++size;
      out += (out.empty() ? "" : "<br/>") + Encode(line.substr(0, size));
      line.remove_prefix(size);
    } while (!line.empty());
  }
  return out;
}

}  // namespace

MermaidWriter::MermaidWriter(std::ostream& out) : out_(out) { out_ << "sequenceDiagram\n"; }

std::string MermaidWriter::Participant(const std::string& who) {
  auto found = std::find(participants_.begin(), participants_.end(), who);
  if (found == participants_.end()) {
    if (participants_.size() >= kMaxParticipants) return "Others";
    found = participants_.insert(participants_.end(), who);
    out_ << "  participant P" << participants_.size() << " as " << Encode(who) << "\n";
    if (participants_.size() == kMaxParticipants) out_ << "  participant Others as others\n";
  }
  return absl::StrFormat("P%d", found - participants_.begin() + 1);
}

void MermaidWriter::Add(const DialogReport& report) {
  if (empty_) out_ << "  participant Server as server\n";
  empty_ = false;
  const auto name = [&](const sip::Endpoint& endpoint) { return Participant(endpoint.ToString()); };
  out_ << "  Note over Server: "
       << NoteText("Call-ID " + sip::Printable(report.dialog.call_id) +
                   "\nverdict: " + std::string(sip::ToString(report.verdict.token)))
       << "\n";
  for (const sip::LadderRung& rung : report.rungs) {
    const std::string source = rung.sent ? "Server" : name(rung.source);
    const std::string destination = rung.received ? "Server" : name(rung.destination);
    const bool between_others = !rung.sent && !rung.received;
    out_ << "  " << source << (between_others ? "-->>" : "->>") << destination << ": "
         << Encode(rung.label);
    if (rung.sequence != 0) out_ << " frame " << rung.sequence;
    out_ << "\n";
  }
  out_ << "  Note over Server: " << NoteText(sip::Explain(report.dialog, report.verdict)) << "\n";
}

void MermaidWriter::Finish() {
  if (empty_) out_ << "  participant Server as server\n  Note over Server: no dialogs\n";
}

}  // namespace sipheal::inline v0_1::cli
