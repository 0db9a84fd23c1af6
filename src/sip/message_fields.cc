// SPDX-License-Identifier: Apache-2.0
#include "sipheal/sip/message_fields.h"

#include "sip/kernel/kernel.h"

namespace sipheal::inline v0_1::sip {

ParseResult RouteList::Read(const MessageView& view, HeaderId id) {
  return kernel::BestKernel().read_routes(view, id, this);
}

ParseResult MessageFields::Read(const MessageView& view) {
  return kernel::BestKernel().read_fields(view, this);
}

}  // namespace sipheal::inline v0_1::sip
