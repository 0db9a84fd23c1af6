// SPDX-License-Identifier: Apache-2.0
// The keys of the configuration, their ranges and their rules, described once. Reading, printing
// and checking that every key is documented are visitors of this one description.
#pragma once

#include <cstddef>
#include <functional>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "cli/config.h"

namespace sipheal::inline v0_1::cli {

// What a text may be. `check` returns what is wrong and what to do, or nothing.
struct TextRule {
  bool required = false;
  bool secret = false;  // never shown
  std::string (*check)(const std::string& value) = nullptr;
};

class ConfigVisitor {
 public:
  virtual ~ConfigVisitor() = default;
  virtual void Text(std::string_view key, std::string& value, const TextRule& rule) = 0;
  virtual void Choice(std::string_view key, std::string& value,
                      std::initializer_list<std::string_view> choices) = 0;
  virtual void TextList(std::string_view key, std::vector<std::string>& value,
                        const TextRule& rule) = 0;
  virtual void Duration(std::string_view key, milliseconds& value, milliseconds least,
                        milliseconds most) = 0;
  virtual void Integer(std::string_view key, int& value, int least, int most) = 0;
  virtual void Number(std::string_view key, double& value, double least, double most) = 0;
  virtual void Flag(std::string_view key, bool& value) = 0;
  virtual void Section(std::string_view key, const std::function<void(ConfigVisitor&)>& fields) = 0;
  // A list of sections. `resize` makes room, `fields` describes the item at an index.
  virtual void List(std::string_view key, std::size_t size,
                    const std::function<void(std::size_t)>& resize,
                    const std::function<void(ConfigVisitor&, std::size_t)>& fields) = 0;
};

// Shows every key of `config` to `visitor`.
void DescribeConfig(ConfigVisitor& visitor, Config& config);

}  // namespace sipheal::inline v0_1::cli
