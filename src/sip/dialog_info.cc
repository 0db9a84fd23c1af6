// SPDX-License-Identifier: Apache-2.0
#include "sip/dialog_info.h"

#include "sip/text.h"

namespace sipheal::inline v0_1::sip {
namespace {

// More of a tag's name is not looked at, so that a body of nothing but brackets costs no more.
constexpr std::size_t kLongestName = 64;

bool IsNameEnd(char c) { return IsLws(c) || c == '>' || c == '/'; }

// The content after the opening tag of the first element of that name, attributes first; empty when
// there is none. A name space prefix does not matter.
std::string_view FindElement(std::string_view text, std::string_view name) {
  for (std::size_t at = text.find('<'); at != text.npos; at = text.find('<', at + 1)) {
    std::string_view rest = text.substr(at + 1);
    const std::string_view start = rest.substr(0, kLongestName);
    const std::size_t colon = start.substr(0, start.find_first_of(" \t\r\n>/")).find(':');
    if (colon != rest.npos) rest.remove_prefix(colon + 1);
    if (rest.size() > name.size() && rest.substr(0, name.size()) == name &&
        IsNameEnd(rest[name.size()])) {
      return rest.substr(name.size());
    }
  }
  return {};
}

// The text up to the closing tag of that name, prefix or not.
std::string_view UntilClose(std::string_view text, std::string_view name) {
  for (std::size_t at = text.find("</"); at != text.npos; at = text.find("</", at + 2)) {
    std::string_view rest = text.substr(at + 2);
    const std::string_view start = rest.substr(0, kLongestName);
    const std::size_t colon = start.substr(0, start.find('>')).find(':');
    if (colon != rest.npos) rest.remove_prefix(colon + 1);
    if (rest.size() > name.size() && rest.substr(0, name.size()) == name &&
        IsNameEnd(rest[name.size()])) {
      return text.substr(0, at);
    }
  }
  return {};
}

// The value of an attribute of an opening tag; empty when it is not there, or holds an entity.
std::string_view Attribute(std::string_view tag, std::string_view name) {
  tag = tag.substr(0, tag.find('>'));
  for (std::size_t at = tag.find(name); at != tag.npos; at = tag.find(name, at + 1)) {
    std::string_view rest = tag.substr(at + name.size());
    if (at == 0 || !IsLws(tag[at - 1])) continue;
    while (!rest.empty() && IsLws(rest.front())) rest.remove_prefix(1);
    if (rest.empty() || rest.front() != '=') continue;
    rest.remove_prefix(1);
    while (!rest.empty() && IsLws(rest.front())) rest.remove_prefix(1);
    if (rest.empty() || (rest.front() != '"' && rest.front() != '\'')) return {};
    const std::size_t end = rest.find(rest.front(), 1);
    if (end == rest.npos) return {};
    const std::string_view value = rest.substr(1, end - 1);
    return value.find('&') == value.npos ? value : std::string_view();
  }
  return {};
}

std::uint32_t Cseq(std::string_view dialog, std::string_view side) {
  const std::string_view participant = UntilClose(FindElement(dialog, side), side);
  std::string_view cseq = FindElement(participant, "cseq");
  const std::size_t begin = cseq.find('>');
  if (begin == cseq.npos) return 0;
  cseq = TrimLws(cseq.substr(begin + 1, cseq.find('<') - begin - 1));
  return ParseUnsigned(cseq, 0x7fffffffu).value_or(0);
}

}  // namespace

bool NextDialogInfo(std::string_view* body, DialogInfoView* info) {
  for (;;) {
    const std::string_view start = FindElement(*body, "dialog");
    if (start.empty()) return false;
    const std::string_view content = UntilClose(start, "dialog");
    if (content.empty()) return false;
    *body = start.substr(content.size());
    info->call_id = Attribute(content, "call-id");
    info->local_tag = Attribute(content, "local-tag");
    info->remote_tag = Attribute(content, "remote-tag");
    if (info->call_id.empty() || info->local_tag.empty() || info->remote_tag.empty()) continue;
    info->local_cseq = Cseq(content, "local");
    info->remote_cseq = Cseq(content, "remote");
    return true;
  }
}

}  // namespace sipheal::inline v0_1::sip
