// SPDX-License-Identifier: Apache-2.0
// What commands write for people: tables, colours on a terminal, a progress line.
#pragma once

#include <chrono>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

namespace sipheal::inline v0_1::cli {

enum class OutputFormat { kText, kJson };

// Where a command writes.
struct Console {
  std::ostream& out;
  std::ostream& err;
  OutputFormat format = OutputFormat::kText;
  bool colour = false;    // `out` is a terminal
  bool progress = false;  // `err` is a terminal

  std::string Green(std::string_view text) const { return Paint("\033[32m", text); }
  std::string Red(std::string_view text) const { return Paint("\033[31m", text); }
  std::string Dim(std::string_view text) const { return Paint("\033[2m", text); }

  // Shows `text` on the last line of the terminal until the next call; empty: takes it away.
  void Progress(std::string_view text) const;

 private:
  std::string Paint(std::string_view colour_code, std::string_view text) const;
};

// Rows under a header, columns as wide as needed, nothing that moves a terminal.
std::string Table(const std::vector<std::string>& header,
                  const std::vector<std::vector<std::string>>& rows);

// "3 s", "2 min", "5 h": for a person.
std::string AgeText(std::chrono::seconds age);

}  // namespace sipheal::inline v0_1::cli
