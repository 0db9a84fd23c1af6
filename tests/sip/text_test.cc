// SPDX-License-Identifier: Apache-2.0
// The helpers that look at several bytes at once say what a look at each byte would say.
#include "sip/text.h"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "sip/find_line_end.h"

namespace sipheal::sip {
namespace {

// Pairs of texts of all sizes around those at which the helpers change their step, most of which
// differ by a byte, a bit or the last byte. Each text ends where its memory ends.
template <typename Fn>
void ForPairs(Fn&& fn) {
  std::mt19937 random(20261123);
  constexpr char kBytes[] = {'a', '-', '\x01', '<', '\r', '\n', '\0', ' '};
  for (std::size_t round = 0; round < 40'000; ++round) {
    std::vector<char> a(round % 140, 'x');
    if (!a.empty() && random() % 2 != 0) a[random() % a.size()] = kBytes[random() % 8];
    std::vector<char> b = a;
    if (!b.empty() && random() % 2 != 0) {
      b[random() % b.size()] ^= static_cast<char>(1u << random() % 8);
    }
    if (!b.empty() && random() % 8 == 0) b = std::vector<char>(b.begin(), b.end() - 1);
    fn(std::string_view(a.data(), a.size()), std::string_view(b.data(), b.size()));
  }
}

TEST(Text, IsTheSameWhenAllItsBytesAre) {
  ForPairs([](std::string_view a, std::string_view b) {
    ASSERT_EQ(SameText(a, b), a == b) << a << " and " << b;
  });
}

TEST(Text, HasAByteWhereverItStands) {
  ForPairs([](std::string_view a, std::string_view) {
    ASSERT_EQ((HasAny<'\x01', '<'>(a)), a.find_first_of("\x01<") != a.npos) << a;
    ASSERT_EQ(HasUnsafeBytes(a), a.find_first_of(std::string_view("\r\n\0", 3)) != a.npos) << a;
    const char* const end = a.data() + a.size();
    const std::size_t found = a.find('\n');
    ASSERT_EQ(FindLineEnd(a.data(), end), found == a.npos ? end : a.data() + found) << a;
  });
}

// By its hash a message is known to have come before.
TEST(Text, HashOfAMessageIsAnotherAfterABitOrALengthHasChanged) {
  ForPairs([](std::string_view a, std::string_view b) {
    ASSERT_EQ(HashMessage(a) == HashMessage(b), a == b) << a << " and " << b;
  });
  // A length that differs in one bit, and the same bit of a word.
  for (std::size_t word = 0; word < 64; word += 8) {
    const std::string shorter(132, 'x');
    std::string longer(133, 'x');
    longer[word] ^= 1;
    EXPECT_NE(HashMessage(shorter), HashMessage(longer)) << word;
  }
}

}  // namespace
}  // namespace sipheal::sip
