// SPDX-License-Identifier: Apache-2.0
// The binary form, byte for byte, as PostgreSQL's array_recv and int8recv read it.
#include "pq/parameters.h"

#include <gtest/gtest.h>

#include <string>

namespace sipheal {
namespace {

using internal::pq::Parameters;
using namespace std::string_literals;

std::string Value(const Parameters& parameters, int i) {
  return {parameters.values()[i], static_cast<std::size_t>(parameters.lengths()[i])};
}

TEST(Parameters, AreBinaryAndKeepEveryByte) {
  Parameters parameters;
  parameters.Text("a'b").Blob("\0\xff"s).Number(-2).Bool(true);
  ASSERT_EQ(parameters.count(), 4);
  EXPECT_EQ(Value(parameters, 0), "a'b");
  EXPECT_EQ(Value(parameters, 1), "\0\xff"s);
  EXPECT_EQ(Value(parameters, 2), "\xff\xff\xff\xff\xff\xff\xff\xfe"s);
  EXPECT_EQ(Value(parameters, 3), "\1"s);
  for (int i = 0; i < 4; ++i) EXPECT_EQ(parameters.formats()[i], 1);
}

TEST(Parameters, AnEmptyTextIsNotNull) {
  Parameters parameters;
  parameters.Text("");
  EXPECT_NE(parameters.values()[0], nullptr);
  EXPECT_EQ(parameters.lengths()[0], 0);
}

TEST(Parameters, AColumnIsAnArrayWithItsNulls) {
  Parameters::Column column;
  column.Text("ab");
  column.Null();
  Parameters parameters;
  parameters.Texts(column);
  EXPECT_EQ(Value(parameters, 0),
            "\0\0\0\1"s          // one dimension
            "\0\0\0\1"s          // has nulls
            "\0\0\0\x19"s        // elements are text
            "\0\0\0\2\0\0\0\1"s  // two of them, from 1 on
            "\0\0\0\2ab"s
            "\xff\xff\xff\xff"s);
}

TEST(Parameters, AnEmptyColumnIsAnArrayWithoutDimensions) {
  Parameters parameters;
  parameters.Numbers({});
  EXPECT_EQ(Value(parameters, 0), "\0\0\0\0\0\0\0\0\0\0\0\x14"s);
}

// Values stay where they are while more are added.
TEST(Parameters, HoldManyValues) {
  Parameters parameters;
  for (int i = 0; i < 100; ++i) parameters.Text(std::to_string(i));
  for (int i = 0; i < 100; ++i) EXPECT_EQ(Value(parameters, i), std::to_string(i));
}

}  // namespace
}  // namespace sipheal
