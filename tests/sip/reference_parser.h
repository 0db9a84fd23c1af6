// SPDX-License-Identifier: Apache-2.0
// A slow and plain reader of the same messages, written apart from the fast one, and what a message
// comes to as text, so that the two can be compared. Of the library it takes nothing to find lines,
// names, numbers and the body; values are read by the plain grammar of uri.h.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "sip/kernel/kernel.h"
#include "sipheal/sip/header_id.h"
#include "sipheal/sip/message_view.h"

namespace sipheal::testing {

// The fields that are indexed, by each name that they have, compact ones too.
const std::vector<std::pair<std::string_view, sip::HeaderId>>& ReferenceNames();
// "error: ..." or all that was read, a line each.
std::string ReadByReference(std::string_view bytes);
// The same by a kernel. `offset` gets the offset of an error.
std::string ReadByKernel(const sip::kernel::Kernel& kernel, std::string_view bytes,
                         std::size_t* offset);
// The message of what was read of it: it reads as the first one, and is then written as it was. Its
// body must be whole.
std::string Write(const sip::MessageView& view);

}  // namespace sipheal::testing
