// SPDX-License-Identifier: Apache-2.0
#include "sip/text_pool.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <string>

namespace sipheal::sip {
namespace {

TEST(TextPool, KeepsEachTextOnceWhateverIsThoughtLikely) {
  std::mt19937 random(1);
  TextPool pool;
  std::map<std::string, TextId> known;
  TextId before = 0;
  for (int i = 0; i < 8000; ++i) {
    std::string text(1 + random() % 3, 'a');
    for (char& c : text) c = static_cast<char>('a' + random() % 4);
    if (random() % 4 == 0) text += std::string(300, 'x');
    const TextId id = pool.Intern(text, before);
    const auto [at, added] = known.emplace(text, id);
    ASSERT_EQ(at->second, id) << text;
    ASSERT_EQ(pool.Get(id), text);
    before = id;
    if (i % 500 == 0) {
      const std::string bytes(pool.bytes());
      pool.Assign(bytes);
    }
  }
  EXPECT_EQ(known.size(), 2u * (4 + 16 + 64));
}

TEST(TextPool, AFullPoolKeepsWhatItHasAndSaysSo) {
  TextPool pool;
  const TextId first = pool.Intern("first");
  const std::string large(TextPool::kMaxBytes, 'x');
  EXPECT_EQ(pool.Intern(large), 0);
  EXPECT_TRUE(pool.full());
  EXPECT_EQ(pool.Intern("first"), first);
  EXPECT_EQ(pool.Get(0), "");
}

}  // namespace
}  // namespace sipheal::sip
