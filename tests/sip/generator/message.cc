// SPDX-License-Identifier: Apache-2.0
#include "tests/sip/generator/message.h"

#include <algorithm>
#include <cctype>
#include <string_view>
#include <utility>

#include "tests/sip/generator/dice.h"

namespace sipheal::testing::generator {
namespace {

class Writer {
 public:
  // The same message is always written in the same way.
  Writer(const Message& message, const Style& style)
      : style_(style),
        dice_(message.cseq * 1000ull + message.method.size() * 100 +
              static_cast<unsigned>(message.status)) {}

  void Header(std::string_view name, std::string_view compact, std::string_view value) {
    const bool is_short = style_.mixed_compact ? dice_.Chance(50) : style_.compact;
    const std::string_view shown = is_short && !compact.empty() ? compact : name;
    std::string text;
    bool odd = false;
    for (const char c : shown) {
      const bool upper = style_.upper || (style_.odd_case && (odd = !odd));
      text += upper ? static_cast<char>(std::toupper(static_cast<unsigned char>(c))) : c;
    }
    text += style_.space_colon ? " : " : ": ";
    text += value;
    text += "\r\n";
    rows_.emplace_back(name, std::move(text));
  }
  // Ends the header.
  std::string Rows() {
    if (style_.any_order) {
      // A place for each name, in any order; its rows take these in theirs.
      std::vector<std::string> places;
      for (const auto& [name, text] : rows_) places.push_back(name);
      dice_.Shuffle(places);
      for (std::size_t i = 0; i < places.size(); ++i) {
        const auto next = std::find_if(rows_.begin() + static_cast<std::ptrdiff_t>(i), rows_.end(),
                                       [&](const auto& row) { return row.first == places[i]; });
        std::rotate(rows_.begin() + static_cast<std::ptrdiff_t>(i), next, next + 1);
      }
    }
    std::string all;
    for (const auto& [name, text] : rows_) all += text;
    return all + "\r\n";
  }
  // A whole line, under its compact name if it has one.
  void Line(std::string_view line) {
    static constexpr std::pair<std::string_view, std::string_view> kCompact[] = {
        {"Supported", "k"}, {"Event", "o"}, {"Refer-To", "r"}, {"Session-Expires", "x"}};
    const std::size_t colon = line.find(": ");
    const std::string_view name = line.substr(0, colon);
    std::string_view compact;
    for (const auto& [whole, letter] : kCompact) {
      if (whole == name) compact = letter;
    }
    Header(name, compact, line.substr(colon + 2));
  }
  // Between two words of a value.
  std::string_view gap() const { return style_.folds_values ? "\r\n\t " : " "; }

  void Vias(const std::vector<std::string>& values) {
    std::string row;
    for (const std::string& value : values) {
      if (!style_.via_row) {
        Header("Via", "v", value);
        continue;
      }
      if (!row.empty()) row += ',' + std::string(gap());
      row += value;
    }
    if (!row.empty()) Header("Via", "v", row);
  }

  void Contact(const std::string& uri, const std::string& second) {
    // Without <> a parameter of the URI would be one of the header (RFC 3261 20.10).
    const bool bare = style_.bare_contact && uri.find_first_of(",;?") == std::string::npos;
    std::string value = style_.folds_values ? "\r\n " : "";
    value += bare ? uri : '<' + uri + '>';
    if (!second.empty() && style_.comma_lists) value += ";q=0.3 , <" + second + ">;q=0.9";
    Header("Contact", "m", value);
    if (!second.empty() && !style_.comma_lists) Header("Contact", "m", '<' + second + '>');
  }

  void Uris(std::string_view name, const std::vector<std::string>& uris, bool header_params) {
    const std::string_view between = style_.folds ? ",\r\n\t" : ", ";
    std::string row;
    for (std::size_t i = 0; i < uris.size(); ++i) {
      const std::string value = '<' + uris[i] + '>' + (header_params ? ";hop=1" : "");
      if (!style_.comma_lists) {
        Header(name, "", value);
        continue;
      }
      if (i > 0) row += between;
      row += value;
    }
    if (!row.empty()) Header(name, "", row);
  }

  void PartyHeader(std::string_view name, std::string_view compact, const Party& party) {
    // Without <> a parameter of the URI would be one of the header (RFC 3261 20.10).
    const bool bare = style_.bare_uris && party.display.empty() &&
                      party.uri.find_first_of(",;?") == std::string::npos;
    std::string value = party.display;
    if (!value.empty()) value += ' ';
    value += bare ? party.uri : '<' + party.uri + '>';
    value += party.params;
    if (!party.tag.empty()) {
      value += style_.folds ? "\r\n ;" : ";";
      value += (style_.odd_case ? "TaG=" : "tag=") + party.tag;
    }
    Header(name, compact, value);
  }

 private:
  const Style& style_;
  Dice dice_;
  std::vector<std::pair<std::string, std::string>> rows_;  // name, and the whole
};

}  // namespace

std::string Render(const Message& message, const Style& style) {
  Writer writer(message, style);
  writer.Vias(message.via);
  const auto routes = [&] {
    writer.Uris("Route", message.route, false);
    writer.Uris("Record-Route", message.record_route, style.route_params);
  };
  if (!style.routes_last) routes();
  writer.PartyHeader("From", "f", message.from);
  writer.PartyHeader("To", "t", message.to);
  writer.Header("Call-ID", "i", (style.folds_values ? "\r\n " : "") + message.call_id);
  std::string cseq = (style.zeros_in_cseq ? "00" : "") + std::to_string(message.cseq);
  writer.Header("CSeq", "", cseq + std::string(writer.gap()) + message.method);
  if (message.request) writer.Header("Max-Forwards", "", "68");
  if (!message.contact.empty()) writer.Contact(message.contact, message.second_contact);
  for (const std::string& line : message.extra) writer.Line(line);
  if (style.routes_last) routes();
  if (!message.sdp.empty()) writer.Header("Content-Type", "c", "application/sdp");
  writer.Header("Content-Length", "l", std::to_string(message.sdp.size()));
  const std::string start = message.request
                                ? message.method + ' ' + message.uri + " SIP/2.0\r\n"
                                : "SIP/2.0 " + std::to_string(message.status) + " Reason\r\n";
  return start + writer.Rows() + message.sdp;
}

}  // namespace sipheal::testing::generator
