// SPDX-License-Identifier: Apache-2.0
#include "tests/sip/generator/message.h"

#include <cctype>
#include <string_view>
#include <utility>

namespace sipheal::testing::generator {
namespace {

class Writer {
 public:
  explicit Writer(const Style& style) : style_(style) {}

  void Header(std::string_view name, std::string_view compact, std::string_view value) {
    const std::string_view shown = style_.compact && !compact.empty() ? compact : name;
    bool odd = false;
    for (const char c : shown) {
      const bool upper = style_.upper || (style_.odd_case && (odd = !odd));
      text += upper ? static_cast<char>(std::toupper(static_cast<unsigned char>(c))) : c;
    }
    text += style_.space_colon ? " : " : ": ";
    text += value;
    text += "\r\n";
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

  void Contact(const std::string& uri) {
    // Without <> a parameter of the URI would be one of the header (RFC 3261 20.10).
    const bool bare = style_.bare_contact && uri.find_first_of(",;?") == std::string::npos;
    std::string value = style_.folds_values ? "\r\n " : "";
    value += bare ? uri : '<' + uri + '>';
    Header("Contact", "m", value);
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

  std::string text;

 private:
  const Style& style_;
};

}  // namespace

std::string Render(const Message& message, const Style& style) {
  Writer writer(style);
  writer.text.reserve(1024);
  if (message.request) {
    writer.text = message.method + ' ' + message.uri + " SIP/2.0\r\n";
  } else {
    writer.text = "SIP/2.0 " + std::to_string(message.status) + " Reason\r\n";
  }
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
  if (!message.contact.empty()) writer.Contact(message.contact);
  for (const std::string& line : message.extra) writer.Line(line);
  if (style.routes_last) routes();
  if (!message.sdp.empty()) writer.Header("Content-Type", "c", "application/sdp");
  writer.Header("Content-Length", "l", std::to_string(message.sdp.size()));
  writer.text += "\r\n";
  writer.text += message.sdp;
  return std::move(writer.text);
}

}  // namespace sipheal::testing::generator
