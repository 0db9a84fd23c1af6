// SPDX-License-Identifier: Apache-2.0
#include "cli/output.h"

#include <algorithm>

#include "absl/strings/str_format.h"
#include "cli/log_writer.h"

namespace sipheal::inline v0_1::cli {

void Console::Progress(std::string_view text) const {
  if (progress) err << "\r\033[K" << Printable(text) << std::flush;
}

std::string Console::Paint(std::string_view colour_code, std::string_view text) const {
  return colour ? std::string(colour_code) + std::string(text) + "\033[0m" : std::string(text);
}

std::string Table(const std::vector<std::string>& header,
                  const std::vector<std::vector<std::string>>& rows) {
  std::vector<std::size_t> widths;
  for (const std::string& title : header) widths.push_back(title.size());
  for (const auto& row : rows) {
    for (std::size_t i = 0; i < row.size() && i < widths.size(); ++i) {
      widths[i] = std::max(widths[i], Printable(row[i]).size());
    }
  }
  std::string text;
  const auto append = [&](const std::vector<std::string>& row) {
    std::string line;
    for (std::size_t i = 0; i < row.size() && i < widths.size(); ++i) {
      const std::string cell = Printable(row[i]);
      line += (i == 0 ? "" : "  ") + cell + std::string(widths[i] - cell.size(), ' ');
    }
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + "\n";
  };
  append(header);
  for (const auto& row : rows) append(row);
  return text;
}

std::string AgeText(std::chrono::seconds age) {
  const auto seconds = age.count();
  if (seconds < 120) return absl::StrFormat("%d s", seconds);
  if (seconds < 7'200) return absl::StrFormat("%d min", seconds / 60);
  if (seconds < 172'800) return absl::StrFormat("%d h", seconds / 3'600);
  return absl::StrFormat("%d d", seconds / 86'400);
}

}  // namespace sipheal::inline v0_1::cli
