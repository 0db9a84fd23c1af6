// SPDX-License-Identifier: Apache-2.0
#include "sipheal/sip/header_id.h"

#include "sip/kernel/header_names.h"
#include "sip/text.h"

namespace sipheal::inline v0_1::sip {

HeaderId HeaderIdFromName(std::string_view name) {
  const kernel::HeaderNameTable& table = kernel::kHeaderNameTable;
  constexpr std::size_t kLongest = 32;
  if (name.empty() || name.size() > kLongest) return HeaderId::kOther;
  const unsigned slot =
      table.SlotOf(kernel::FirstTwo(name), static_cast<std::uint32_t>(name.size()));
  return EqualsIgnoreCase(name, table.full_names[slot]) ? static_cast<HeaderId>(table.ids[slot])
                                                        : HeaderId::kOther;
}

}  // namespace sipheal::inline v0_1::sip
