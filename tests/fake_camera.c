/* A camera that is not there: /dev/video77, for a process that preloads this library.
 *
 * It answers V4L2 as a webcam does: YUYV, at most 320x240, 20 frames a second. The luma
 * of frame n is 16 + 8 * (n % 24) everywhere. In the folder $FAKE_CAMERA a file
 * "unplugged" takes it away, "hung" makes it give nothing more, "busy" keeps others out.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/videodev2.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define DEVICE "/dev/video77"
#define BUFFERS 4
#define SLOT (1 << 18)

static int device = -1;
static unsigned char *memory;
static unsigned width = 320, height = 240, rate = 20, number;
static int queued[BUFFERS], count;
static double last;

static int told(const char *what)
{
    char path[4096];
    const char *folder = getenv("FAKE_CAMERA");
    snprintf(path, sizeof path, "%s/%s", folder ? folder : "/nonexistent", what);
    return access(path, F_OK) == 0;
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

static int fail(int number)
{
    errno = number;
    return -1;
}

static int open_device(void)
{
    if (told("unplugged"))
        return fail(ENOENT);
    if (told("busy"))
        return fail(EBUSY);
    device = memfd_create("camera", 0);
    if (ftruncate(device, BUFFERS * SLOT))
        return -1;
    memory = mmap(NULL, BUFFERS * SLOT, PROT_READ | PROT_WRITE, MAP_SHARED, device, 0);
    number = count = 0;
    last = now();
    return device;
}

int open(const char *path, int flags, ...)
{
    static int (*real)(const char *, int, ...);
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = va_arg(arguments, mode_t);
    va_end(arguments);
    if (!strcmp(path, DEVICE))
        return open_device();
    if (!real)
        real = dlsym(RTLD_NEXT, "open");
    return real(path, flags, mode);
}

int open64(const char *path, int flags, ...)
{
    static int (*real)(const char *, int, ...);
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = va_arg(arguments, mode_t);
    va_end(arguments);
    if (!strcmp(path, DEVICE))
        return open_device();
    if (!real)
        real = dlsym(RTLD_NEXT, "open64");
    return real(path, flags, mode);
}

int close(int fd)
{
    static int (*real)(int);
    if (!real)
        real = dlsym(RTLD_NEXT, "close");
    if (fd == device && device >= 0) {
        munmap(memory, BUFFERS * SLOT);
        device = -1;
    }
    return real(fd);
}

/* Somebody let go of a picture after the camera was closed: FFmpeg has freed what that
 * needs by then. It may go well by chance, so nothing is left to it. */
static void late(void)
{
    static const char words[] = "a buffer of the camera was kept longer than the camera\n";
    if (write(2, words, sizeof words - 1))
        abort();
}

static int dequeue(struct v4l2_buffer *buffer)
{
    if (told("unplugged"))
        return fail(ENODEV);
    if (told("hung") || !count || now() < last + 1.0 / rate)
        return fail(EAGAIN);
    last += 1.0 / rate;
    int index = queued[0];
    memmove(queued, queued + 1, --count * sizeof *queued);
    unsigned char *pixels = memory + index * SLOT;
    for (unsigned i = 0; i < width * height; i++) {
        pixels[2 * i] = 16 + 8 * (number % 24);
        pixels[2 * i + 1] = 128;
    }
    buffer->index = index;
    buffer->bytesused = 2 * width * height;
    buffer->sequence = number++;
    buffer->timestamp.tv_sec = (long)last;
    buffer->timestamp.tv_usec = (long)((last - (long)last) * 1e6);
    return 0;
}

static int answer(unsigned long request, void *argument)
{
    switch (request) {
    case VIDIOC_QUERYCAP: {
        struct v4l2_capability *c = argument;
        strcpy((char *)c->card, "fake");
        c->capabilities = c->device_caps = V4L2_CAP_VIDEO_CAPTURE | V4L2_CAP_STREAMING;
        return 0;
    }
    case VIDIOC_G_INPUT:
        *(int *)argument = 0;
        return 0;
    case VIDIOC_S_INPUT:
        return 0;
    case VIDIOC_ENUMINPUT:
        return ((struct v4l2_input *)argument)->index ? fail(EINVAL) : 0;
    case VIDIOC_S_FMT:
    case VIDIOC_G_FMT: {
        struct v4l2_format *f = argument;
        if (request == VIDIOC_S_FMT) {
            if (f->fmt.pix.pixelformat != V4L2_PIX_FMT_YUYV)
                return fail(EINVAL);
            width = f->fmt.pix.width > 320 ? 320 : f->fmt.pix.width;
            height = f->fmt.pix.height > 240 ? 240 : f->fmt.pix.height;
        }
        f->fmt.pix.width = width;
        f->fmt.pix.height = height;
        f->fmt.pix.pixelformat = V4L2_PIX_FMT_YUYV;
        f->fmt.pix.field = V4L2_FIELD_NONE;
        f->fmt.pix.bytesperline = 2 * width;
        f->fmt.pix.sizeimage = 2 * width * height;
        return 0;
    }
    case VIDIOC_G_PARM:
    case VIDIOC_S_PARM: {
        struct v4l2_captureparm *p = &((struct v4l2_streamparm *)argument)->parm.capture;
        p->capability = V4L2_CAP_TIMEPERFRAME;
        p->timeperframe.numerator = 1;
        p->timeperframe.denominator = rate;
        return 0;
    }
    case VIDIOC_REQBUFS:
        ((struct v4l2_requestbuffers *)argument)->count = BUFFERS;
        return 0;
    case VIDIOC_QUERYBUF: {
        struct v4l2_buffer *b = argument;
        b->length = SLOT;
        b->m.offset = b->index * SLOT;
        return 0;
    }
    case VIDIOC_QBUF:
        if (count == BUFFERS)
            late();
        queued[count++] = ((struct v4l2_buffer *)argument)->index;
        return 0;
    case VIDIOC_DQBUF:
        return dequeue(argument);
    case VIDIOC_STREAMON:
    case VIDIOC_STREAMOFF:
        return 0;
    }
    return fail(ENOTTY);
}

int ioctl(int fd, unsigned long request, ...)
{
    static int (*real)(int, unsigned long, ...);
    va_list arguments;
    va_start(arguments, request);
    void *argument = va_arg(arguments, void *);
    va_end(arguments);
    if (fd == device && device >= 0)
        return answer(request & 0xffffffff, argument);
    if ((request & 0xffffffff) == VIDIOC_QBUF)
        late();
    if (!real)
        real = dlsym(RTLD_NEXT, "ioctl");
    return real(fd, request, argument);
}
