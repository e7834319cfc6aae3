// Decodes all tensors of a compressed file, and writes their bytes one behind the other, in the
// order of the file: the data of the safetensors file that it was made from.
//
//     decode_all MODEL.unw OUTPUT
#include <cstdint>
#include <cstdio>
#include <exception>
#include <fstream>
#include <iostream>
#include <memory>

#include "unweight.hpp"

static std::uint64_t decode_all(const char *path, const char *output_path)
{
    const unweight::Model model(path);
    std::ofstream output;
    output.exceptions(std::ios::failbit | std::ios::badbit);
    output.open(output_path, std::ios::binary | std::ios::trunc);

    // One buffer for all tensors. It need not be initialised, unlike a std::vector.
    std::unique_ptr<char[]> buffer;
    std::size_t capacity = 0;
    std::uint64_t written = 0;
    for (std::uint32_t number = 0; number < model.tensor_count(); number++) {
        const auto tensor = model.tensor(number);
        const auto bytes = static_cast<std::size_t>(tensor.data_bytes());
        if (bytes > capacity) {
            buffer.reset(new char[bytes]);
            capacity = bytes;
        }
        model.read(tensor, buffer.get(), bytes);
        output.write(buffer.get(), static_cast<std::streamsize>(bytes));
        written += bytes;
    }
    output.close();
    return written;
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        std::cerr << "usage: decode_all MODEL.unw OUTPUT\n";
        return 2;
    }
    try {
        std::cout << decode_all(argv[1], argv[2]) << " bytes\n";
        return 0;
    } catch (const unweight::Error &error) {
        std::cerr << error.what() << '\n';
    } catch (const std::exception &error) {
        std::cerr << argv[2] << ": " << error.what() << '\n';
    }
    return 1;
}
