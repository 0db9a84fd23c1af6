// SPDX-License-Identifier: Apache-2.0
#include "sipheal/sip/method.h"

#include <iterator>

#include "sip/kernel/method_table.h"

namespace sipheal::inline v0_1::sip {
namespace {

// So that the name of a method stands at its number.
constexpr bool NamesAreInOrder() {
  for (std::size_t i = 0; i < std::size(kernel::kMethodNames); ++i) {
    if (static_cast<std::size_t>(kernel::kMethodNames[i].method) != i + 1) return false;
  }
  return true;
}
static_assert(NamesAreInOrder());

}  // namespace

Method MethodFromString(std::string_view text) {
  const kernel::MethodTable& table = kernel::kMethodTable;
  const kernel::MethodSlot& slot = table.slots[table.SlotOf(kernel::MethodWord(text))];
  return text == ToString(slot.method) ? slot.method : Method::kOther;
}

std::string_view ToString(Method method) {
  const auto at = static_cast<std::size_t>(method);
  return at == 0 || at > std::size(kernel::kMethodNames) ? "OTHER"
                                                         : kernel::kMethodNames[at - 1].name;
}

}  // namespace sipheal::inline v0_1::sip
