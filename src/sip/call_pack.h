// SPDX-License-Identifier: Apache-2.0
// A quiet call's facts in half the bytes: most calls that are tracked have said nothing for a
// while. The records lose their zero bytes; the texts, which are much alike within a call and among
// calls, are written as references to what stood before and to a list of what SIP and SDP often
// say.
//
// Never leaves the process, so there is no version and nothing hostile to read.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace sipheal::inline v0_1::sip {

// Appends `records`, a multiple of eight bytes, without its zeros.
void PackRecords(std::string_view records, std::string* out);
// Reads `size` bytes of records into `records`; returns what follows them.
std::string_view UnpackRecords(std::string_view packed, std::size_t size, std::string* records);

void PackTexts(std::string_view texts, std::string* out);
// Reads all of `packed`.
void UnpackTexts(std::string_view packed, std::string* texts);

}  // namespace sipheal::inline v0_1::sip
