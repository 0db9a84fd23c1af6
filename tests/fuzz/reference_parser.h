// SPDX-License-Identifier: Apache-2.0
// A second reading of a SIP message, to hold the library's against: copied texts, one step after the
// other as RFC 3261 section 7 tells it, no thought of speed. It shares no code with the library.
#pragma once

#include <cctype>
#include <cstddef>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace sipheal::testing {

struct ReferenceMessage {
  bool complete = false;  // a start line and the empty line after the header fields
  std::string start_line;
  // In order, names in their long form and lower case, values on one line.
  std::vector<std::pair<std::string, std::string>> headers;
  std::string body;  // all that follows the empty line

  std::vector<std::string> Values(const std::string& name) const {
    std::vector<std::string> values;
    for (const auto& [known, value] : headers) {
      if (known == name) values.push_back(value);
    }
    return values;
  }
};

inline std::string ReferenceTrim(const std::string& text) {
  std::size_t begin = 0;
  std::size_t end = text.size();
  const auto white = [](char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; };
  while (begin < end && white(text[begin])) ++begin;
  while (end > begin && white(text[end - 1])) --end;
  return text.substr(begin, end - begin);
}

// A line end with white space after it is one space (RFC 3261 7.3.1).
inline std::string ReferenceUnfold(const std::string& value) {
  std::string line;
  for (std::size_t i = 0; i < value.size(); ++i) {
    const bool cr = value[i] == '\r' && i + 1 < value.size() && value[i + 1] == '\n';
    if (value[i] != '\n' && !cr) {
      line += value[i];
      continue;
    }
    while (!line.empty() && (line.back() == ' ' || line.back() == '\t')) line.pop_back();
    while (i + 1 < value.size() && (value[i + 1] == '\n' || value[i + 1] == '\r' ||
                                    value[i + 1] == ' ' || value[i + 1] == '\t')) {
      ++i;
    }
    line += ' ';
  }
  return ReferenceTrim(line);
}

inline std::string ReferenceName(const std::string& text) {
  static const std::map<std::string, std::string> long_forms = {
      {"i", "call-id"}, {"m", "contact"}, {"l", "content-length"}, {"f", "from"},
      {"t", "to"},      {"v", "via"},     {"x", "session-expires"}};
  std::string name;
  for (const char c : ReferenceTrim(text)) {
    name += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  }
  const auto found = long_forms.find(name);
  return found == long_forms.end() ? name : found->second;
}

inline ReferenceMessage ReferenceParse(const std::string& bytes) {
  ReferenceMessage message;
  std::vector<std::string> lines;
  std::size_t at = 0;
  while (at < bytes.size()) {
    const std::size_t end = bytes.find('\n', at);
    if (end == std::string::npos) return message;
    std::string line = bytes.substr(at, end - at);
    if (!line.empty() && line.back() == '\r') line.pop_back();
    at = end + 1;
    if (line.empty() && !lines.empty()) {
      message.complete = true;
      message.body = bytes.substr(at);
      break;
    }
    const bool continues = lines.size() > 1 && !line.empty() && (line[0] == ' ' || line[0] == '\t');
    if (continues) {
      lines.back() += "\r\n" + line;
    } else {
      lines.push_back(line);
    }
  }
  if (lines.empty()) return message;
  message.start_line = lines.front();
  for (std::size_t i = 1; i < lines.size(); ++i) {
    const std::size_t colon = lines[i].find(':');
    // A name and its colon stand on one line (HCOLON, RFC 3261 25.1).
    if (colon == std::string::npos || lines[i].find('\n') < colon) continue;
    message.headers.emplace_back(ReferenceName(lines[i].substr(0, colon)),
                                 ReferenceUnfold(lines[i].substr(colon + 1)));
  }
  return message;
}

}  // namespace sipheal::testing
