// SPDX-License-Identifier: Apache-2.0
// The known methods, found by one multiplication and one comparison of a word: a perfect hash over
// the first eight letters, made by the compiler.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "sipheal/sip/method.h"

namespace sipheal::inline v0_1::sip::kernel {

struct MethodName {
  Method method;
  std::string_view name;
};
inline constexpr MethodName kMethodNames[] = {
    {Method::kInvite, "INVITE"},       {Method::kAck, "ACK"},         {Method::kBye, "BYE"},
    {Method::kCancel, "CANCEL"},       {Method::kUpdate, "UPDATE"},   {Method::kPrack, "PRACK"},
    {Method::kInfo, "INFO"},           {Method::kRefer, "REFER"},     {Method::kNotify, "NOTIFY"},
    {Method::kSubscribe, "SUBSCRIBE"}, {Method::kMessage, "MESSAGE"}, {Method::kOptions, "OPTIONS"},
    {Method::kRegister, "REGISTER"},   {Method::kPublish, "PUBLISH"},
};

// The first eight characters as a little-endian number.
constexpr std::uint64_t MethodWord(std::string_view name) {
  std::uint64_t word = 0;
  for (std::size_t i = 0; i < name.size() && i < 8; ++i) {
    word |= static_cast<std::uint64_t>(static_cast<unsigned char>(name[i])) << (8 * i);
  }
  return word;
}

struct MethodSlot {
  std::uint64_t word = 0;
  std::uint8_t size = 0;
  Method method = Method::kOther;
};

struct MethodTable {
  std::uint64_t factor = 0;
  std::array<MethodSlot, 32> slots{};
  constexpr std::size_t SlotOf(std::uint64_t word) const { return (word * factor) >> 59; }
};

constexpr MethodTable MakeMethodTable() {
  MethodTable table;
  bool found = false;
  for (std::uint64_t factor = 0x9e3779b97f4a7c15u; !found; factor += 0x3c6ef372fe94f82au) {
    table.factor = factor;
    table.slots = {};
    found = true;
    for (const MethodName& entry : kMethodNames) {
      MethodSlot& slot = table.slots[table.SlotOf(MethodWord(entry.name))];
      if (slot.size != 0) {
        found = false;
        break;
      }
      slot = {MethodWord(entry.name), static_cast<std::uint8_t>(entry.name.size()), entry.method};
    }
  }
  return table;
}

inline constexpr MethodTable kMethodTable = MakeMethodTable();

}  // namespace sipheal::inline v0_1::sip::kernel
