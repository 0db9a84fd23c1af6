// SPDX-License-Identifier: Apache-2.0
#include "sipheal/sip/method.h"

#include "sip/kernel/method_table.h"

namespace sipheal::inline v0_1::sip {

Method MethodFromString(std::string_view text) {
  const kernel::MethodTable& table = kernel::kMethodTable;
  const kernel::MethodSlot& slot = table.slots[table.SlotOf(kernel::MethodWord(text))];
  return text == ToString(slot.method) ? slot.method : Method::kOther;
}

std::string_view ToString(Method method) {
  for (const kernel::MethodName& entry : kernel::kMethodNames) {
    if (entry.method == method) return entry.name;
  }
  return "OTHER";
}

}  // namespace sipheal::inline v0_1::sip
