/**
 * Unweight: lossless compression of model weights, in files of `spec/unweight.md`.
 *
 * Made by cbindgen from the Rust source of this library; do not edit.
 *
 * Status. Most functions return an `unweight_status`. If their last parameter is not NULL, they
 * also write an `unweight_error` there, after success too. Outputs other than that are unspecified
 * after a failure, unless a function says more. An internal error is `UNWEIGHT_STATUS_INTERNAL`,
 * and its place is printed to standard error; nothing else is printed. The process is aborted in
 * one case only: the system refuses memory that is within the budget.
 *
 * Pointers. Each must be NULL where that is allowed, or point to as many bytes as its type or the
 * length beside it says. Memory that a function writes must not overlap memory that it reads. No
 * alignment beyond that of the pointer's type is needed. Buffers for weights need not be
 * initialised. A pointer that a function gets is not kept after its return, unless it says so.
 *
 * Structs with a `struct_size`. The caller sets it to `sizeof` of the struct, and all fields that
 * it does not use to 0: `unweight_open_options options = { .struct_size = sizeof options };` in C,
 * `unweight_open_options options{};` and an assignment in C++. 0 is the default of every field.
 * New fields are added at the end. A library that is newer than the program takes missing fields as
 * 0. One that is older refuses the struct with `UNWEIGHT_STATUS_INVALID_ARGUMENT` if fields that
 * it does not know are not 0.
 *
 * Threads. All functions can be called at any time from any thread, also with the same model. Only
 * `unweight_close` must not be called while another thread uses the model. No call changes the
 * result of another one, and there is nothing to initialise. An operation on a whole tensor or file
 * starts the threads that the options allow. They stay until the model is closed or the function on
 * files returns, and do not survive a `fork`: a child neither uses nor closes the models of its
 * parent, and opens its own.
 *
 * Callbacks may call this library. They must return: no exception, `longjmp` or thread exit may
 * leave them. Each says from which threads it is called.
 *
 * Memory. What an operation allocates stays below the memory budget of its options, beside the
 * stacks of threads and some kilobytes. A file that needs more is refused before the allocation.
 *
 * Bytes of weights are little-endian, as in a safetensors file. A *weight* is one element of a
 * tensor, except that a weight of type F4 holds two elements, and one of F6_E2M3 or F6_E3M2 is a
 * byte of packed elements.
 */


#ifndef UNWEIGHT_H
#define UNWEIGHT_H

#include <stddef.h>
#include <stdint.h>

/**
 * Version of the binary interface that this header describes. It changes when a function or a
 * struct changes in a way that breaks programs. Functions and fields at the end of a struct are
 * added without changing it.
 */
#define UNWEIGHT_ABI_VERSION 1

/**
 * Flag of `unweight_file_options`: replaces a file that has the name of the output. An input or a
 * folder is never replaced.
 */
#define UNWEIGHT_FILE_FORCE 1

/**
 * Flag of `unweight_file_options`: decodes a compressed file again and compares it with its source
 * before it gets its name. Without effect on restoring, which checks everything anyway.
 */
#define UNWEIGHT_FILE_VERIFY 2

/**
 * Bytes of `unweight_error.rule`.
 */
#define UNWEIGHT_RULE_BYTES 32

/**
 * Bytes of `unweight_error.category`.
 */
#define UNWEIGHT_CATEGORY_BYTES 16

/**
 * Bytes of `unweight_error.message`.
 */
#define UNWEIGHT_MESSAGE_BYTES 448

/**
 * `unweight_error.offset` if the error has none.
 */
#define UNWEIGHT_NO_OFFSET UINT64_MAX

/**
 * The most dimensions of a tensor.
 */
#define UNWEIGHT_MAX_RANK 64

/**
 * Bytes of `unweight_tensor_info.dtype_name`.
 */
#define UNWEIGHT_DTYPE_NAME_BYTES 16

/**
 * What became of a call. Later versions may add values.
 */
enum unweight_status
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  /**
   * Success.
   */
  UNWEIGHT_STATUS_OK = 0,
  /**
   * An argument is NULL where that is not allowed, or has a value that is not allowed.
   */
  UNWEIGHT_STATUS_INVALID_ARGUMENT = 1,
  /**
   * There is no tensor of this name or number.
   */
  UNWEIGHT_STATUS_NO_TENSOR = 2,
  /**
   * A buffer has another length than the tensor, or a range leaves the tensor.
   */
  UNWEIGHT_STATUS_WRONG_LENGTH = 3,
  /**
   * The file breaks a rule of the format, became shorter meanwhile, or does not restore its
   * source.
   */
  UNWEIGHT_STATUS_INVALID_FILE = 4,
  /**
   * The file to compress is not a valid safetensors file, or exceeds a limit of the format.
   */
  UNWEIGHT_STATUS_INVALID_SOURCE = 5,
  /**
   * More memory is needed than the budget allows, or than a device has. The file may be valid.
   */
  UNWEIGHT_STATUS_OVER_BUDGET = 6,
  /**
   * Reading failed. The file may be valid, and the call may be repeated.
   */
  UNWEIGHT_STATUS_READ_FAILED = 7,
  /**
   * Writing failed.
   */
  UNWEIGHT_STATUS_WRITE_FAILED = 8,
  /**
   * The output or input path cannot be used, for example because the output exists already.
   * Nothing was changed.
   */
  UNWEIGHT_STATUS_REFUSED = 9,
  /**
   * A progress callback asked to stop.
   */
  UNWEIGHT_STATUS_CANCELLED = 10,
  /**
   * An error of this library. Please report it.
   */
  UNWEIGHT_STATUS_INTERNAL = 11,
  /**
   * There is no CUDA driver or device, or it is too old for the kernels. Only of functions for
   * devices.
   */
  UNWEIGHT_STATUS_NO_DEVICE = 12,
  /**
   * A CUDA device failed. The file may be valid.
   */
  UNWEIGHT_STATUS_DEVICE_FAILED = 13,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum unweight_status unweight_status;
#else
typedef uint32_t unweight_status;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * Element types. The values are the type codes of the file format.
 */
enum unweight_dtype
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  UNWEIGHT_DTYPE_BOOL = 1,
  UNWEIGHT_DTYPE_U8 = 2,
  UNWEIGHT_DTYPE_I8 = 3,
  UNWEIGHT_DTYPE_F8_E5M2 = 4,
  UNWEIGHT_DTYPE_F8_E4M3 = 5,
  UNWEIGHT_DTYPE_F8_E8M0 = 6,
  UNWEIGHT_DTYPE_F8_E4M3FNUZ = 7,
  UNWEIGHT_DTYPE_F8_E5M2FNUZ = 8,
  UNWEIGHT_DTYPE_F4 = 9,
  UNWEIGHT_DTYPE_F6_E2M3 = 10,
  UNWEIGHT_DTYPE_F6_E3M2 = 11,
  UNWEIGHT_DTYPE_I16 = 12,
  UNWEIGHT_DTYPE_U16 = 13,
  UNWEIGHT_DTYPE_F16 = 14,
  UNWEIGHT_DTYPE_BF16 = 15,
  UNWEIGHT_DTYPE_I32 = 16,
  UNWEIGHT_DTYPE_U32 = 17,
  UNWEIGHT_DTYPE_F32 = 18,
  UNWEIGHT_DTYPE_I64 = 19,
  UNWEIGHT_DTYPE_U64 = 20,
  UNWEIGHT_DTYPE_F64 = 21,
  UNWEIGHT_DTYPE_C64 = 22,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum unweight_dtype unweight_dtype;
#else
typedef uint32_t unweight_dtype;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * Encodings of the fields that are coded.
 */
enum unweight_encoding
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  /**
   * Huffman codes: the smallest files.
   */
  UNWEIGHT_ENCODING_HUFFMAN = 0,
  /**
   * Indices into palettes of 16 values, where a field is wider than 4 bits: simpler to decode.
   */
  UNWEIGHT_ENCODING_PALETTE = 1,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum unweight_encoding unweight_encoding;
#else
typedef uint32_t unweight_encoding;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

#if defined(UNWEIGHT_CUDA)
/**
 * Loads tensors to one CUDA device. `unweight_cuda_close` frees it.
 */
typedef struct unweight_cuda_loader unweight_cuda_loader;
#endif

/**
 * An open file. `unweight_close` frees it.
 */
typedef struct unweight_model unweight_model;

/**
 * Report on the last call that this was passed to. It has 512 bytes in every version, needs no
 * initialisation, and owns nothing. All strings end with a zero byte, and are empty if there is
 * nothing to say.
 */
typedef struct unweight_error {
  /**
   * The value that the function returned.
   */
  unweight_status status;
  /**
   * 0.
   */
  uint32_t reserved;
  /**
   * Offset in the file, in bytes, of the broken rule or the failed read. `UNWEIGHT_NO_OFFSET`
   * if there is none.
   */
  uint64_t offset;
  /**
   * Id of the broken rule (section 10 of the specification), such as "record-crc".
   */
  char rule[UNWEIGHT_RULE_BYTES];
  /**
   * Category of the broken rule: "truncated", "malformed", "unsupported" or "limit".
   */
  char category[UNWEIGHT_CATEGORY_BYTES];
  /**
   * One line for people, in UTF-8: what was found, what was expected, where. A long message
   * loses its middle.
   */
  char message[UNWEIGHT_MESSAGE_BYTES];
} unweight_error;

#if defined(UNWEIGHT_CUDA)
/**
 * A tensor to load, and the device memory for it.
 */
typedef struct unweight_cuda_tensor {
  /**
   * Number of the tensor.
   */
  uint32_t number;
  /**
   * 0.
   */
  uint32_t reserved;
  /**
   * Device address (`CUdeviceptr`), a multiple of 16.
   */
  uint64_t address;
  /**
   * Length of the memory in bytes: the tensor's `data_bytes`. The bytes behind it must be
   * readable up to the next multiple of 16, as they are in memory of `cuMemAlloc` and
   * `cudaMalloc`.
   */
  uint64_t bytes;
} unweight_cuda_tensor;
#endif

/**
 * Progress callback: `done_bytes` of about `total_bytes` are done. It returns 0 to go on; anything
 * else cancels the operation. It may be called from other threads than the caller's, but never
 * twice at a time. `done_bytes` does not decrease, and is 0 when work begins. The callback is not
 * called again after it has cancelled.
 */
typedef int (*unweight_progress)(void *user, uint64_t done_bytes, uint64_t total_bytes);

/**
 * Options for operations on files.
 */
typedef struct unweight_file_options {
  /**
   * `sizeof(unweight_file_options)`.
   */
  uint32_t struct_size;
  /**
   * The most threads that work, including the caller's. 0: one for each processor.
   */
  uint32_t threads;
  /**
   * The most bytes that may be allocated. 0: as much as any valid file of that length needs.
   */
  uint64_t memory_bytes;
  /**
   * For compressing: a value of `unweight_encoding`.
   */
  uint32_t encoding;
  /**
   * For compressing: binary logarithm of the number of weights in a chunk, 12 to 16. 0: 15.
   */
  uint32_t chunk_size_log2;
  /**
   * `UNWEIGHT_FILE_FORCE` and `UNWEIGHT_FILE_VERIFY`.
   */
  uint32_t flags;
  /**
   * 0.
   */
  uint32_t reserved;
  /**
   * Progress callback, in bytes that were read; may be NULL. With `UNWEIGHT_FILE_VERIFY` it
   * counts twice, first for compressing and then for verifying.
   */
  unweight_progress progress;
  /**
   * Passed to `progress`.
   */
  void *user;
} unweight_file_options;

/**
 * Result of an operation on a file. The caller sets `struct_size`; the library writes the rest.
 */
typedef struct unweight_file_report {
  /**
   * `sizeof(unweight_file_report)`.
   */
  uint32_t struct_size;
  /**
   * Number of tensors.
   */
  uint32_t tensors;
  /**
   * Number of tensors that are smaller in the compressed file.
   */
  uint32_t compressed_tensors;
  /**
   * 0.
   */
  uint32_t reserved;
  /**
   * Length of the input in bytes.
   */
  uint64_t input_bytes;
  /**
   * Length of the output in bytes.
   */
  uint64_t output_bytes;
} unweight_file_report;

/**
 * Options for opening a file.
 */
typedef struct unweight_open_options {
  /**
   * `sizeof(unweight_open_options)`.
   */
  uint32_t struct_size;
  /**
   * The most threads that work on an operation, including the caller's. 0: one for each
   * processor.
   */
  uint32_t threads;
  /**
   * The most bytes that may be allocated for the file and one operation on it. 0: as much as any
   * valid file of that length needs.
   */
  uint64_t memory_bytes;
  /**
   * The longest gap, in bytes, between two reads that is read too in order to merge them: as
   * much as the storage delivers in one round trip. For remote storages. 0: reads are not
   * merged.
   */
  uint64_t merge_gap_bytes;
  /**
   * The longest merged read in bytes. 0: 8 MiB. Without effect if reads are not merged.
   */
  uint64_t merge_longest_bytes;
} unweight_open_options;

/**
 * Read callback: reads up to `length` bytes, at least 1, at byte `offset` into `buffer`. It returns
 * the number of bytes that were read, which may be less than `length`; 0 if the bytes end at
 * `offset`; a negative number after an error. `offset + length` is at most the reader's
 * `byte_length`.
 *
 * It is called from several threads at the same time, unless the model was opened with `threads` =
 * 1: then only from the threads that call this library. A number above `length` is an error. Bytes
 * that it counts and did not write are unspecified; checksums find them.
 */
typedef int64_t (*unweight_read_at)(void *user, uint64_t offset, uint8_t *buffer, size_t length);

/**
 * A file that a callback reads, for `unweight_open_reader`.
 */
typedef struct unweight_reader {
  /**
   * `sizeof(unweight_reader)`.
   */
  uint32_t struct_size;
  /**
   * 0.
   */
  uint32_t reserved;
  /**
   * Length of the file in bytes.
   */
  uint64_t byte_length;
  /**
   * Passed to `read_at`.
   */
  void *user;
  /**
   * Reads bytes. Not NULL.
   */
  unweight_read_at read_at;
} unweight_reader;

/**
 * What a tensor is. The caller sets `struct_size`; the library writes the rest.
 */
typedef struct unweight_tensor_info {
  /**
   * `sizeof(unweight_tensor_info)`.
   */
  uint32_t struct_size;
  /**
   * Number of the tensor, counted from 0 in the order of the data.
   */
  uint32_t number;
  /**
   * Element type, a value of `unweight_dtype`. Later versions may add types.
   */
  uint32_t dtype;
  /**
   * Number of dimensions, at most `UNWEIGHT_MAX_RANK`. 0: a scalar.
   */
  uint32_t rank;
  /**
   * Bits of an element: 4, 6, 8, 16, 32 or 64.
   */
  uint32_t element_bits;
  /**
   * Bytes of a weight: 1, 2, 4 or 8.
   */
  uint32_t weight_bytes;
  /**
   * Number of elements: the product of the dimensions.
   */
  uint64_t element_count;
  /**
   * Length of the decoded tensor in bytes.
   */
  uint64_t data_bytes;
  /**
   * Length of the tensor in the file in bytes, without its entry in the directory.
   */
  uint64_t stored_bytes;
  /**
   * The name: `name_bytes` bytes of UTF-8 WITHOUT a zero byte behind them. It lives until the
   * model is closed. It comes from the file: it may be empty, look like a path, or contain
   * control characters and zero bytes.
   */
  const char *name;
  /**
   * Length of the name in bytes.
   */
  size_t name_bytes;
  /**
   * Name of the element type as in a safetensors file, such as "BF16", with a zero byte behind.
   */
  char dtype_name[UNWEIGHT_DTYPE_NAME_BYTES];
  /**
   * The dimensions, outermost first. Those from `rank` on are 0.
   */
  uint64_t dims[UNWEIGHT_MAX_RANK];
} unweight_tensor_info;

/**
 * Output callback: takes the next `length` bytes, at least 1. It returns 0 to go on; anything else
 * ends the operation with `UNWEIGHT_STATUS_WRITE_FAILED`. It is called from the thread that called
 * this library.
 */
typedef int (*unweight_write_bytes)(void *user, const uint8_t *bytes, size_t length);

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * The `UNWEIGHT_ABI_VERSION` of the library, for comparison with that of the header.
 */
uint32_t unweight_abi_version(void);

/**
 * The version of the library, such as "0.1.0". The string lives as long as the library is loaded.
 */
const char *unweight_version(void);

#if defined(UNWEIGHT_CUDA)
/**
 * Makes a loader for CUDA device `device`, counted from 0 as the driver does, in the device's
 * primary context, which is that of the CUDA runtime. It loads the kernels. The context that is
 * current on the calling thread stays so.
 *
 * On success `*loader` is the loader, which the caller closes with `unweight_cuda_close`;
 * otherwise it is NULL.
 *
 * Statuses: `NO_DEVICE`, `DEVICE_FAILED`, `INVALID_ARGUMENT`.
 */
unweight_status unweight_cuda_open(uint32_t device,
                                   struct unweight_cuda_loader **loader,
                                   struct unweight_error *error);
#endif

#if defined(UNWEIGHT_CUDA)
/**
 * Decodes `count` tensors into device memory, and checks all of their checksums on the device. The
 * file is read on the threads of the model, through pinned memory that the memory budget of the
 * model bounds, and through at most some 100 MiB of device memory, both of which the loader keeps.
 * Many tensors in one call take less time than one by one.
 *
 * `stream` is a `CUstream` or `cudaStream_t` of the device's primary context, or NULL for the
 * default stream. The work begins behind what is on it, and is complete when the function returns.
 * Nobody else may use the memory meanwhile. The content of all of it is unspecified after a
 * failure. `tensors` may be NULL if `count` is 0.
 *
 * Several threads may use a loader at a time.
 *
 * Statuses: `NO_TENSOR`, `WRONG_LENGTH`, `INVALID_FILE`, `OVER_BUDGET`, `READ_FAILED`,
 * `DEVICE_FAILED`, `INVALID_ARGUMENT`.
 */
unweight_status unweight_cuda_load(const struct unweight_cuda_loader *loader,
                                   const struct unweight_model *model,
                                   const struct unweight_cuda_tensor *tensors,
                                   size_t count,
                                   void *stream,
                                   struct unweight_error *error);
#endif

#if defined(UNWEIGHT_CUDA)
/**
 * Closes a loader, and frees its pinned memory and its device memory. NULL is allowed. No other
 * thread may use the loader meanwhile or later.
 */
void unweight_cuda_close(struct unweight_cuda_loader *loader);
#endif

/**
 * Compresses the safetensors file at `source` to a file at `output`. The output gets its name when
 * it is complete and on the disk. A failure or cancellation leaves nothing behind. The same source
 * and options give the same bytes, with any number of threads.
 *
 * Paths are strings as for `unweight_open_path`. `options` and `report` may be NULL.
 *
 * Statuses: `INVALID_SOURCE`, `REFUSED` (for example if the output exists), `OVER_BUDGET`,
 * `READ_FAILED`, `WRITE_FAILED`, `CANCELLED`, `INVALID_ARGUMENT`; `INVALID_FILE` if the
 * verification fails.
 */
unweight_status unweight_compress_file(const char *source,
                                       const char *output,
                                       const struct unweight_file_options *options,
                                       struct unweight_file_report *report,
                                       struct unweight_error *error);

/**
 * Restores the source of the compressed file at `container` to a file at `output`, byte for byte,
 * and checks every rule of the format and every checksum. Otherwise as `unweight_compress_file`,
 * with `INVALID_FILE` instead of `INVALID_SOURCE`.
 */
unweight_status unweight_restore_file(const char *container,
                                      const char *output,
                                      const struct unweight_file_options *options,
                                      struct unweight_file_report *report,
                                      struct unweight_error *error);

/**
 * Opens the file at `path`, a string that ends with a zero byte: on Unix any bytes, elsewhere
 * UTF-8. Only ordinary files can be opened. Reads header, directory and extensions, and checks
 * them.
 *
 * `options` may be NULL. On success `*model` is the model, which the caller closes with
 * `unweight_close`; otherwise it is NULL.
 *
 * Statuses: `INVALID_FILE`, `OVER_BUDGET`, `READ_FAILED`, `REFUSED`, `INVALID_ARGUMENT`.
 */
unweight_status unweight_open_path(const char *path,
                                   const struct unweight_open_options *options,
                                   struct unweight_model **model,
                                   struct unweight_error *error);

/**
 * Opens a file in memory. Nothing is copied: the `length` bytes at `bytes` must stay as they are
 * until the model is closed and no operation on it runs. `bytes` may be NULL if `length` is 0.
 *
 * Otherwise as `unweight_open_path`; `READ_FAILED` and `REFUSED` do not occur.
 */
unweight_status unweight_open_memory(const void *bytes,
                                     size_t length,
                                     const struct unweight_open_options *options,
                                     struct unweight_model **model,
                                     struct unweight_error *error);

/**
 * Opens a file that a callback reads. `*reader` is copied; what its `user` points to must live
 * until the model is closed and no operation on it runs. The file should not change meanwhile. If
 * it does, operations fail, or return bytes of the one or the other version of a chunk.
 *
 * Otherwise as `unweight_open_path`; `REFUSED` does not occur. `READ_FAILED` after an error of the
 * callback; `INVALID_FILE` with the rule "file-truncated" if it says that the file ends early.
 */
unweight_status unweight_open_reader(const struct unweight_reader *reader,
                                     const struct unweight_open_options *options,
                                     struct unweight_model **model,
                                     struct unweight_error *error);

/**
 * Closes a model. NULL is allowed. Names that `unweight_tensor_info` points to end with it. No
 * other thread may use the model meanwhile or later. In a callback of an operation on the model,
 * the file stays open until the operation returns.
 */
void unweight_close(struct unweight_model *model);

/**
 * Number of tensors. 0 if `model` is NULL.
 */
uint32_t unweight_tensor_count(const struct unweight_model *model);

/**
 * Describes the tensor with this number, which is below `unweight_tensor_count`. Takes the same
 * time for every number, and reads nothing.
 *
 * Statuses: `NO_TENSOR`, `INVALID_ARGUMENT`.
 */
unweight_status unweight_get_tensor(const struct unweight_model *model,
                                    uint32_t number,
                                    struct unweight_tensor_info *info,
                                    struct unweight_error *error);

/**
 * Describes the tensor of this name, which has `name_bytes` bytes and needs no zero byte behind
 * them. Takes a binary search, and reads nothing. `name` may be NULL if `name_bytes` is 0.
 *
 * Statuses: `NO_TENSOR`, `INVALID_ARGUMENT`.
 */
unweight_status unweight_find_tensor(const struct unweight_model *model,
                                     const char *name,
                                     size_t name_bytes,
                                     struct unweight_tensor_info *info,
                                     struct unweight_error *error);

/**
 * Decodes the tensor with this number into `buffer`, and checks its checksum. `buffer_bytes` must
 * be the tensor's `data_bytes`. Uses the threads of the model.
 *
 * Statuses: `NO_TENSOR`, `WRONG_LENGTH`, `INVALID_FILE`, `OVER_BUDGET`, `READ_FAILED`,
 * `INVALID_ARGUMENT`.
 */
unweight_status unweight_read_tensor(const struct unweight_model *model,
                                     uint32_t number,
                                     void *buffer,
                                     size_t buffer_bytes,
                                     struct unweight_error *error);

/**
 * Reads `length` bytes of the decoded tensor with this number, from byte `offset` on, into
 * `buffer`. Reads, decodes and checks only the chunks that contain them, on the caller's thread.
 *
 * Statuses: those of `unweight_read_tensor`.
 */
unweight_status unweight_read_bytes(const struct unweight_model *model,
                                    uint32_t number,
                                    uint64_t offset,
                                    void *buffer,
                                    size_t length,
                                    struct unweight_error *error);

/**
 * Reads `count` weights of the tensor with this number, from weight `first` on in row-major order,
 * into `buffer`. `buffer_bytes` must be `count` times the tensor's `weight_bytes`. Otherwise as
 * `unweight_read_bytes`.
 */
unweight_status unweight_read_weights(const struct unweight_model *model,
                                      uint32_t number,
                                      uint64_t first,
                                      uint64_t count,
                                      void *buffer,
                                      size_t buffer_bytes,
                                      struct unweight_error *error);

/**
 * Checks every rule of the format and every checksum of the file. `progress` may be NULL. It is
 * called with `user`, counts decoded bytes, and is called from the thread that called this
 * function.
 *
 * Statuses: `INVALID_FILE`, `OVER_BUDGET`, `READ_FAILED`, `CANCELLED`, `INVALID_ARGUMENT`.
 */
unweight_status unweight_verify(const struct unweight_model *model,
                                unweight_progress progress,
                                void *user,
                                struct unweight_error *error);

/**
 * Passes the source, byte for byte and in order, to `write`, which is called with `user`. Checks
 * every rule of the format and every checksum on the way. After a failure the output must be
 * discarded: some checks are complete only after everything has been read.
 *
 * Statuses: those of `unweight_verify` but `CANCELLED`; `WRITE_FAILED` if `write` ends it.
 */
unweight_status unweight_restore(const struct unweight_model *model,
                                 unweight_write_bytes write,
                                 void *user,
                                 struct unweight_error *error);

/**
 * Number of bytes that `unweight_restore` writes. 0 if `model` is NULL. `UINT64_MAX` if the file
 * states more than that.
 */
uint64_t unweight_restored_bytes(const struct unweight_model *model);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* UNWEIGHT_H */
